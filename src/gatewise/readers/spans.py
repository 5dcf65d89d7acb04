"""Read texts whose spans are given as offsets of characters, as tokens with the tags B-, I- and O.

spaCy, doccano, Prodigy and Label Studio write such spans beside the text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from gatewise.errors import DataError
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

TEXTS = ("text", "data.text", "content", "sentence", "data")
SPANS = ("entities", "spans", "label", "labels", "annotations")
BEGINS = ("start", "start_offset", "start_char", "begin")
ENDS = ("end", "end_offset", "end_char", "stop")
NAMES = ("label", "type", "entity", "entity_group", "labels")
SPAN = re.compile(r"O|[BIESLU]-\S+")  # a tag of spans, in any of their schemes
WORD = re.compile(r"\w+|[^\w\s]")

Span = tuple[int, int, str]  # the first character, the one behind the last, and the label


def columns(table: Table, settings: DataSettings) -> tuple[str, str] | None:
    """The columns of texts and of their spans; None if the table has none."""
    kinds = table.kinds(settings.missing_values)
    texts = [name for name in settings.text or TEXTS if kinds.get(name) == "text"]
    given = [settings.label] if settings.label else SPANS
    found = [name for name in given if kinds.get(name) == "list" and _are_spans(table.sample[name])]
    return (texts[0], found[0]) if texts and found else None


def beside(table: Table, settings: DataSettings) -> tuple[str, str] | None:
    """The columns of texts and of a tag for each of their words; None without such.

    The tags are a text or a list.
    """
    kinds = table.kinds(settings.missing_values)
    written = [name for name in table.columns if kinds[name] == "text"]
    texts_in_lists = pl.List(pl.String)
    listed = [name for name in table.columns if table.sample[name].dtype == texts_in_lists]
    given = [settings.label] if settings.label else [*written, *listed]
    rows = table.sample.head(100)
    tags = [name for name in given if name in (*written, *listed) and _are_tags(rows[name])]
    texts = [name for name in settings.text or written if name in written and name not in tags]
    counts = [len(tags_of(cell)) for cell in rows[tags[0]].to_list()] if tags else []
    for name in texts if tags else ():
        words = (
            rows[name]
            .fill_null("")
            .str.split(" ")
            .list.eval(pl.element().filter(pl.element() != ""))
        )
        if words.list.len().to_list() == counts:
            return name, tags[0]
    return None


def tags_of(cell: str | Sequence[Any] | None) -> list[str]:
    """The tags of a list, or of a text that spaces or commas separate.

    >>> tags_of("O,B-PER, I-PER")
    ['O', 'B-PER', 'I-PER']
    """
    if isinstance(cell, str):
        return cell.replace(",", " ").split()
    return list(map(str, cell or []))


def _are_tags(cells: pl.Series) -> bool:
    """True if each cell holds the tags of spans, and some of them are not O."""
    known = [tags_of(cell) for cell in cells.drop_nulls().to_list()]
    every = {tag for tags in known for tag in tags}
    return len(every) > 1 and max(map(len, known)) > 1 and all(map(SPAN.fullmatch, every))


def _are_spans(cells: pl.Series) -> bool:
    """True if the first item of the lists is a span."""
    filled = [cell for cell in cells.drop_nulls().head(100).to_list() if cell]
    try:
        return any(True for cell in filled for _ in _spans(cell))
    except (TypeError, ValueError, OverflowError):
        return False


def tagged(table: Table, text: str, spans: str) -> tuple[list[list[str]], list[list[str]]]:
    """The tokens of each text and their tags; a token is a word or a sign.

    Raises:
        DataError: a span does not fit its text, or two of them overlap.
    """
    tokens, tags = [], []
    frame = pl.concat(list(table.batches([text, spans])))
    for row, (content, cell) in enumerate(frame.iter_rows()):
        try:
            found = _checked(content or "", cell or [])
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{table.name}: {table.at(row)}: {error}. Correct the span.") from None
        words = list(_words(content or "", found))
        tokens.append([word for word, _ in words])
        tags.append([tag for _, tag in words])
    return tokens, tags


def words_of(text: str) -> list[str]:
    """The words and signs of a text without spans.

    >>> words_of("Ann slept, then left.")
    ['Ann', 'slept', ',', 'then', 'left', '.']
    """
    return [word for word, _ in _words(text, [])]


def _words(text: str, spans: Sequence[Span]) -> Iterator[tuple[str, str]]:
    """Each word or sign with its tag; a word ends where a span begins or ends."""
    borders = [border for first, last, _ in spans for border in (first, last)]
    starts = [0, *borders]
    for place, (first, last) in enumerate(zip(starts, [*borders, len(text)], strict=True)):
        words = WORD.findall(text[first:last])
        # The pieces are by turns outside of all spans and a span.
        label = spans[place // 2][2] if place % 2 else ""
        for number, word in enumerate(words):
            yield word, f"{'I' if number else 'B'}-{label}" if label else "O"


def _checked(text: str, cell: Sequence[Any]) -> list[Span]:
    """The spans of a text in their order.

    Raises:
        ValueError: one is not in the text, holds no word, or overlaps another.
    """
    found = sorted({_placed(text, *span) for span in _spans(cell)})
    end = 0
    for first, last, label in found:
        if not 0 <= first < last <= len(text):
            raise ValueError(f"the span {first} to {last} is not in its text ({len(text)} long)")
        if first < end:
            raise ValueError(f"the span {first} to {last} ({label}) overlaps the one before it")
        if not WORD.search(text[first:last]):
            raise ValueError(f"the span {first} to {last} ({label}) holds no word")
        end = last
    return found


def _spans(cell: Sequence[Any]) -> Iterator[tuple[int, int, str, str]]:
    """The spans of a list, each with the text that it says it covers, or "".

    Raises:
        ValueError: an item has another form.
        TypeError: an item has another form.
    """
    for item in cell:
        match item:
            case [first, last, label, *_] if label:
                yield int(first), int(last), str(label), ""
            case {"result": list(inner)}:  # of a person, as Label Studio keeps them
                yield from _spans([one["value"] for one in inner if _is_span(one)])
            case dict():
                yield _of_fields(item)
            case _:
                raise ValueError(f"{str(item)[:80]!r} is not a span")


def _is_span(one: Any) -> bool:
    """True unless a result of Label Studio says something of the whole text."""
    value = one.get("value") if isinstance(one, Mapping) else None
    return isinstance(value, Mapping) and value.get("start") is not None


def _of_fields(fields: Mapping[str, Any]) -> tuple[int, int, str, str]:
    first, last, label = (
        next((fields[key] for key in keys if fields.get(key) is not None), None)
        for keys in (BEGINS, ENDS, NAMES)
    )
    labels = label if isinstance(label, list) else [label]
    if first is None or last is None or len(labels) != 1 or not labels[0]:
        raise ValueError(f"a span needs a start, an end and one label, unlike {str(fields)[:80]!r}")
    said = fields.get("text")
    return int(first), int(last), str(labels[0]), said if isinstance(said, str) else ""


def _placed(text: str, first: int, last: int, label: str, said: str) -> Span:
    """The span, counted in characters; JavaScript counts those beyond 16 bits twice.

    Raises:
        ValueError: the text there is another one than the span says.
    """
    if not said or text[first:last].split() == said.split():
        return first, last, label
    units = text.encode("utf-16-le")
    before, inside = (
        units[2 * begin : 2 * end].decode("utf-16-le", "replace")
        for begin, end in ((0, first), (first, last))
    )
    if inside.split() != said.split():
        raise ValueError(f"the span {first} to {last} is {text[first:last]!r}, not {said!r}")
    return len(before), len(before) + len(inside), label

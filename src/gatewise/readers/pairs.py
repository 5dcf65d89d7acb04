"""Read pairs of texts: two files with the same number of lines, or two columns of a table.

The bytes of the source text are the steps; its translation is the label.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Sequences, from_texts, texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.readers import archives, columns, texts
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.delimited import refuse_merged
from gatewise.readers.files import File, reading
from gatewise.readers.sources import EXCHANGE, Opened, nothing, placed
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
LOCALE = re.compile(r"\.[a-z]{2}(?:[-_][A-Za-z]{2,4})?")
BEGIN = 4096  # bytes of a first line, at most
ATTRIBUTION = re.compile(r"CC-BY .*tatoeba\.org")  # the last cell of the pairs of manythings.org
TATOEBA = "each line holds a text, its translation and the attribution of Tatoeba"
SERIES = ".ts"  # a format of series, not a language
SENTENCE = re.compile(r"[.!?…]\W*$|(\S+\s+){3}\S")  # ends like a sentence, or has four words


def read(opened: Opened, settings: DataSettings, *, purpose: Purpose) -> Read:
    """Read the pairs of two files or of a table; for predictions, the lines of any text file.

    Args:
        opened: a path or a data frame; for predictions, also `-` for standard input.
        settings: `[data]`.
        purpose: "predict" needs only the source texts.

    Raises:
        DataError: a file cannot be read, or the file of translations is missing or has another
            number of lines.
        ConfigError: the columns or the file of translations cannot be guessed.
    """
    if opened.given is None:
        raise nothing()
    if opened.named is None:
        return from_table(opened.table(), settings, purpose=purpose)
    if opened.is_standard_input:
        if purpose != "predict":
            raise ConfigError("Only gatewise predict reads standard input (-). Name a file.")
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        lines = content.removesuffix("\n").split("\n") if content else []
        return _alone(lines, "standard input"), settings, []
    path, name = opened.file.path, opened.file.name
    _refuse_markup(path)
    # A pipe has no file of translations next to it, so its pairs must be a table.
    piped = opened.file.content is not None and (purpose != "predict" or settings.text)
    if purpose != "predict" and (found := of_tatoeba(opened, settings)):
        made, settings, notes = from_table(opened.reopened(found).table(), found, purpose=purpose)
        return made, settings, [TATOEBA, *notes]
    if name.endswith(TABLES) or piped:
        return from_table(opened.table(), settings, purpose=purpose)
    lines = texts.lines(opened.file, settings.encoding)
    if purpose == "predict":
        if name.endswith(".txt") and texts.begins_table(lines[0], settings):
            return from_table(opened.table(), settings, purpose=purpose)
        return _alone(lines, str(path)), settings, []
    if name.endswith(".txt") and "\t" in lines[0]:
        return from_table(opened.table(), settings, purpose=purpose)
    return _from_files(path, lines, settings)


def _refuse_markup(path: Path) -> None:
    """Refuse files whose lines are not texts."""
    if remedy := EXCHANGE.get(path.suffix.lower()):
        raise DataError(f"{path}: files of this kind ({path.suffix}) are not read. {remedy}.")


def _alone(lines: Sequence[str], name: str) -> Sequences:
    """Texts without translations; an empty line is an empty text."""
    if not lines:
        raise DataError(f"{name} is empty. It needs a line of text.")
    return from_texts([line.strip() for line in lines], ids=_numbered(len(lines)), source=name)


def _numbered(count: int) -> Any:
    return np.arange(1, count + 1).astype(str)


def _paired(
    left: Sequence[str], right: Sequence[str], where: Callable[[int], str], **known: Any
) -> tuple[Sequences, list[str]]:
    """Make sequences from pairs, and a note if pairs with an empty side are left out."""
    left, right = ([text.strip() for text in side] for side in (left, right))
    made = from_texts(left, labels=np.array(right, dtype=object), **known)
    whole = np.array([bool(one and other) for one, other in zip(left, right, strict=True)])
    if not whole.any():
        raise DataError(f"{made.source}: no pair has text on both sides.")
    missing = np.flatnonzero(~whole)
    if not len(missing):
        return made, []
    pairs = "pair with an empty side is" if len(missing) == 1 else "pairs with an empty side are"
    note = f"{len(missing)} {pairs} left out; the first is {where(int(missing[0]))}"
    return made.chosen(np.flatnonzero(whole)), [note]


def of_lists(source: Sequence[Any], translated: Sequence[Any], settings: DataSettings) -> Read:
    """Read texts in memory and their translations.

    Raises:
        DataError: an item is not a text, or the numbers of texts and translations differ.
    """
    made = texts.of_list(source, translated, "the list of texts")
    assert made.labels is not None
    whole, notes = _paired(
        texts_of(made),
        made.labels.tolist(),
        lambda place: f"item {place}",
        ids=made.ids,
        source=made.source,
    )
    return whole, settings, notes


def are_sentences(items: Sequence[Any]) -> bool:
    """True if most items are texts of several words, such as translations and unlike labels.

    >>> are_sentences(["Guten Tag", "Wie geht es?", "Danke"]), are_sentences(["good", "bad"])
    (True, False)
    """
    spaced = sum(isinstance(one, str) and len(one.split()) > 1 for one in items)
    return 2 * spaced > len(items)


# Two files.


def _from_files(path: Path, lines: list[str], settings: DataSettings) -> Read:
    notes = []
    if settings.label:
        other = sibling(path, settings.label)
    else:
        count = len("\n".join(lines).rstrip().split("\n"))
        other, ending = guessed_sibling(path, count)
        settings = replace(settings, label=ending)
        notes.append(
            f"the translations are taken from {other.name}, which has as many lines as {path.name} "
            f"({count:,})"
        )
    translated = texts.lines(File(other), settings.encoding)
    lines, translated = _without_tails(lines, translated, path, other, notes)
    if len(translated) != len(lines):
        raise DataError(
            f"{path} has {len(lines):,} lines, but {other} has {len(translated):,}. Line k of one "
            "must be the translation of line k of the other. Correct the files."
        )
    made, more = _paired(
        lines,
        translated,
        lambda place: f"line {place + 1}",
        ids=_numbered(len(lines)),
        source=str(path),
    )
    return made, settings, notes + more


def _without_tails(
    lines: list[str], others: list[str], path: Path, other: Path, notes: list[str]
) -> tuple[list[str], list[str]]:
    """Both files without the empty lines at the end of the longer one."""
    shortest = min(len(lines), len(others))
    kept = []
    for rows, place in ((lines, path), (others, other)):
        tail = rows[shortest:]
        if tail and not any(row.strip() for row in tail):
            notes.append(f"{len(tail)} empty lines at the end of {place.name} are left out")
            rows = rows[:shortest]
        kept.append(rows)
    return kept[0], kept[1]


def sibling(path: Path, label: str) -> Path:
    """The file with the translations of this file: `corpus.en` and `de` -> `corpus.de`.

    `label` replaces one part of the name, the last for which the file exists; or it is the path of
    a file.

    Raises:
        DataError: there is no such file.
    """
    parts, bare = _parts(path), path.name.removesuffix(".gz")
    changed = [
        "".join([*parts[:k], label, *parts[k + 1 :]]) for k in reversed(range(0, len(parts), 2))
    ]
    named = [] if Path(label).name != label else [*changed, f"{bare}.{label}", label]
    for name in named:
        for packed in (f"{name}.gz", name) if path.suffix == ".gz" else (name, f"{name}.gz"):
            place = path.with_name(packed)
            if place.is_file() and place != path:
                return place
    if Path(label).is_file():
        return Path(label)
    wanted = path.with_name(changed[0]) if named else label
    raise DataError(
        f"{path}: the file of translations, {wanted}, does not exist. Set --target to the suffix "
        f"or the path of that file. Received: {label!r}."
    )


def ends_in_locale(path: Path) -> bool:
    """True if a name ends in the code of a language, such as train.en or train.pt_BR.gz."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    return suffix != SERIES and LOCALE.fullmatch(suffix) is not None


def parallel(path: Path, label: str) -> Path | None:
    """The translations of a file, if their name ends in a language too and is the only such name.

    `label` is the ending or the path of the translations; "" to look for them.
    """
    try:
        other = sibling(path, label) if label else guessed_sibling(path, _lines(path))[0]
    except (ConfigError, DataError):
        return None
    return other if label or ends_in_locale(other) else None


def guessed_sibling(path: Path, count: int) -> tuple[Path, str]:
    """Find the only file that differs in one part of its name and has the same number of lines.

    Suffixes are compared before other parts of the name. Returns the file and that part.

    Raises:
        ConfigError: there is no such file, or there are several.
    """
    own = _parts(path)
    by_place: dict[int, list[tuple[Path, str]]] = {}
    for other in sorted(path.parent.iterdir()):
        parts = _parts(other)
        apart = [k for k, (one, two) in enumerate(zip(own, parts, strict=False)) if one != two]
        if len(parts) == len(own) and len(apart) == 1 and other.is_file():
            by_place.setdefault(apart[0], []).append((other, parts[apart[0]]))
    for place in sorted(by_place, reverse=True):
        fitting = [(other, part) for other, part in by_place[place] if _lines(other) == count]
        if len(fitting) > 1:
            named = ", ".join(f"{part} ({other.name})" for other, part in fitting)
            raise ConfigError(
                f"{path}: several files in its folder also have {count:,} lines: {named}. Name the "
                f"one that holds the translations, as in --target {fitting[0][1]}."
            )
        if fitting:
            return fitting[0]
    raise ConfigError(
        f"{path}: no file in its folder has a similar name and also {count:,} lines. Name the file "
        "that holds the translations: --target de for a file that ends in .de, or its path."
    )


def _parts(path: Path) -> list[str]:
    """The name without .gz, split at dots, dashes and underscores, which have odd positions."""
    return re.split(r"([._-])", path.name.removesuffix(".gz"))


def _lines(path: Path) -> int:
    """The number of lines of a file; -1 if it cannot be read."""
    try:
        with reading(str(path)), File(path).opened() as file:
            blocks: Iterator[bytes] = iter(lambda: file.read(1 << 20), b"")
            count, blank = 0, 0  # lines with text or before such lines; blank lines behind them
            rest = b""
            for block in blocks:
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    count, blank = (
                        (count, blank + 1) if not line.strip() else (count + blank + 1, 0)
                    )
    except DataError:
        return -1
    return count + (blank + 1 if rest.strip() else 0)


# A table.


def of_tatoeba(opened: Opened, settings: DataSettings) -> DataSettings | None:
    """The settings for pairs of Tatoeba as manythings.org gives them out; None for other files.

    Such a file has no line of names. Its third column says who wrote both sentences.
    """
    if opened.named is None or opened.is_standard_input or settings.column_names:
        return None
    path = placed(opened.named)
    archive = archives.is_archive(path)
    if not path.is_file() or not (archive or path.name.removesuffix(".gz").endswith(".txt")):
        return None
    try:
        member = opened.file
    except DataError:  # an archive of recordings, or of several files
        return None
    if not member.name.endswith(".txt"):
        return None
    with reading(str(path)), member.opened() as file:
        cells = file.readline(BEGIN).decode("utf-8", "replace").split("\t")
    if len(cells) != 3 or not ATTRIBUTION.match(cells[2]):
        return None
    names = ("source", "target", "attribution")
    text, label = settings.text or names[:1], settings.label or names[1]
    return replace(settings, column_names=names, quotes=False, text=text, label=label)


def from_table(table: Table, settings: DataSettings, *, purpose: Purpose) -> Read:
    """Read a table with one pair per row.

    Raises:
        DataError: a column is missing, or no row holds a pair.
        ConfigError: the columns of texts cannot be guessed.
    """
    settings, notes = _with_columns(table, settings, purpose)
    notes += columns.unread(table, settings)
    read_from, label = settings.text[0], settings.label
    needed = {read_from, label, settings.group, *settings.id} & set(table.columns)
    frame = pl.concat(list(table.batches(sorted(needed))))

    def cells(name: str) -> list[str]:
        return frame[name].cast(pl.String).fill_null("").to_list()

    known: dict[str, Any] = {"source": table.name, "ids": _numbered(frame.height)}
    if settings.group in frame.columns and settings.group:
        known["groups"] = np.array(cells(settings.group), dtype=object)
    if settings.id and set(settings.id) <= set(frame.columns):
        rows = zip(*map(cells, settings.id), strict=True)
        known["ids"] = np.array(["/".join(row) for row in rows])
    source = cells(read_from)
    refuse_merged(table, read_from, source)
    notes = [*table.notes, *notes]
    if purpose == "predict":
        return from_texts([text.strip() for text in source], **known), settings, notes
    translated = cells(label)
    refuse_merged(table, label, translated)
    made, more = _paired(source, translated, table.at, **known)
    return made, settings, notes + more


def _with_columns(
    table: Table, settings: DataSettings, purpose: Purpose
) -> tuple[DataSettings, list[str]]:
    """The settings with the columns of both texts, and a note if they are guessed."""
    if len(settings.text) > 1:
        raise ConfigError(
            "data.text must name one column, the source of the translations. "
            f"Received: {', '.join(settings.text)}."
        )
    needed = [*settings.text, *settings.id, *([settings.label] if purpose != "predict" else [])]
    for name in filter(None, needed):
        if name not in table.columns:
            raise columns.absent(table.name, name, table.columns)
    if settings.text and (settings.label or purpose == "predict"):
        return settings, []
    kinds = table.kinds(settings.missing_values)
    taken = {*settings.text, settings.label, settings.group, *settings.id}
    able = columns.answering(table, settings)
    free = [name for name in able if kinds[name] == "text" and name not in taken]
    missing = (not settings.text) + (not settings.label)
    _refuse_pairs(table, settings)
    if len(free) != missing:
        listed = ", ".join(free) or "none"
        raise ConfigError(
            f"{table.name}: cannot determine the columns of the texts and their translations "
            f"(unused columns of texts: {listed}). Name them: "
            "--set data.text=SOURCE --target TRANSLATION."
        )
    if not settings.text:
        settings = replace(settings, text=(free.pop(0),))
    if not settings.label:
        settings = replace(settings, label=free.pop(0))
    return settings, [
        f"the column {settings.text[0]!r} is read, and {settings.label!r} is its translation"
    ]


def _refuse_pairs(table: Table, settings: DataSettings) -> None:
    """Refuse a first line that is a pair, because it would be lost as the names of columns."""
    if not settings.column_names and sum(bool(SENTENCE.search(name)) for name in table.columns) > 1:
        names = ["source", "target", *["more"] * (len(table.columns) - 2)]
        raise DataError(
            f"{table.name}: the first line ({', '.join(table.columns)[:80]}) looks like a pair of "
            "texts, but must name the columns. Add a line of names at the top, or set them: "
            f"--set 'data.column_names={json.dumps(names)}'."
        )

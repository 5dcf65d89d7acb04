"""Read tokens with tags: CoNLL columns, CoNLL-U, or lines of tokens with lines of tags.

A step is a token. `values` holds positions in `levels`: of the token, and of its tag if known.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.readers import roles, spans, texts
from gatewise.readers.columns import Purpose
from gatewise.readers.files import File, reading
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

TOKEN, TAG = "token", "tag"
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
MISSING = "_"  # an empty cell in CoNLL-U
NEVER_MISSING = ("upos", "xpos", "deprel")  # must not be empty; other columns may be
COLUMNED = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".ner", ".pos", ".conllx", ".tsv")
TABLES = (".csv", ".jsonl", ".ndjson", ".json", ".parquet")
HEADER = frozenset(
    ("token", "tokens", "word", "words", "form", "text")
)  # names of columns of tokens
TAGS = frozenset(("tag", "tags", "label", "labels", "pos", "upos", "ner", "ner_tag", "ner_tags"))
DOCUMENT = "-DOCSTART-"  # the first line of a document in CoNLL-2003
BEGIN = 1 << 16  # bytes whose lines tell that a text file holds tags
MIN_DOCUMENTS = 10  # fewer documents cannot be split in proportion, so they are not groups


@dataclass
class Sentences:
    """The sentences of a file."""

    tokens: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # "" if the file has no id
    documents: list[int] = field(default_factory=list)  # the document of each sentence; 0: none


def holds_tokens(path: Path) -> bool:
    """True if the name of a file alone shows that it holds tokens with tags."""
    name = path.name.removesuffix(".gz").lower()
    return _is_conllu(path) or name == "seq.in" or Path(name).suffix in COLUMNED[:-1]


def holds_spans(file: File) -> bool:
    """True if each line of a text file is a token with the tag of a span, such as O or B-PER.

    Empty lines between sentences and at least one tag other than O are needed. Only the first
    lines are read.
    """
    with reading(str(file.path)), file.opened() as content:
        begin = content.read(BEGIN)
    lines = begin.decode("utf-8", "replace").splitlines()
    lines = lines[:-1] if len(begin) == BEGIN else lines
    filled = [line for line in lines if line.strip() and not _is_comment(line)]
    rows = [words_of(line) for line in filled]
    inner = "\n".join(lines).strip("\n").split("\n")
    return (
        any(not line.strip() for line in inner)
        and all(len(row) > 1 and spans.SPAN.fullmatch(row[-1]) for row in rows)
        and any(row[-1] != "O" for row in rows)
    )


def holds_named(file: File) -> bool:
    """True if a line names the tokens and tags that stand, as many cells, in the lines below it."""
    with reading(str(file.path)), file.opened() as content:
        lines = content.read(BEGIN).decode("utf-8", "replace").splitlines()[:1000]
    if not lines or not _is_header(lines[0]):
        return False
    widths = {len(words_of(line)) for line in lines[:-1] if line.strip()}
    return len(widths) == 1 and any(not line.strip() for line in lines[:-1])


JOINED = "/_"  # signs between a token and its tag: the/DT, the_DT


def holds_joined(file: File) -> bool:
    """True if each token of a text file is joined with its tag, as in the/DT dog/NN."""
    with reading(str(file.path)), file.opened() as content:
        begin = content.read(BEGIN)
    return bool(_joint(begin.decode("utf-8", "replace").splitlines()))


def _joint(lines: Sequence[str]) -> str:
    """The sign between each token and its tag; "" if the lines hold no tags, or too few words."""
    words = [word for line in lines[:1000] for word in words_of(line)]
    for sign in JOINED:
        pairs = [word.rpartition(sign)[::2] for word in words]
        whole = sum(bool(token and tag) for token, tag in pairs)
        tags = len({tag for _, tag in pairs})
        several = 2 * len([line for line in lines if line.strip()]) <= len(words)
        if several and whole >= 0.98 * len(words) > 50 and 1 < tags <= max(50, len(words) / 20):
            return sign
    return ""


def _split(path: Path, lines: list[str], sign: str) -> Sentences:
    """Read one sentence per line, with tokens that are joined with their tags."""
    sentences = _plain(lines)
    for words, number in zip(sentences.tokens, sentences.ids, strict=True):
        pairs = [word.rpartition(sign) for word in words]
        for word, (token, _, tag) in zip(words, pairs, strict=True):
            if not (token and tag):
                raise DataError(
                    f"{path}: line {int(number) + 1} holds {word!r} without a tag, but other words "
                    f"are joined with theirs by {sign!r}. Add the tag."
                )
        sentences.tags.append([tag for _, _, tag in pairs])
        words[:] = [token for token, _, _ in pairs]
    return sentences


def _is_conllu(path: Path) -> bool:
    return path.name.removesuffix(".gz").lower().endswith(".conllu")


def from_sentences(
    tokens: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]] | None = None,
    **known: Any,
) -> Sequences:
    """Make sequences from sentences, with a tag for each token or without tags.

    >>> tagged = from_sentences([["a", "rose"], ["is"]], [["DET", "NOUN"], ["VERB"]])
    >>> tokens_of(tagged, TAG, 0)
    ['DET', 'NOUN']
    """
    lengths = np.array([len(sentence) for sentence in tokens], dtype=np.int64)
    stops = np.cumsum(lengths, dtype=np.int64)
    columns = {TOKEN: tokens} | ({} if tags is None else {TAG: tags})
    levels, codes = {}, []
    for name, sentences in columns.items():
        places: dict[str, int] = {}
        codes.append(
            np.fromiter(
                (places.setdefault(text, len(places)) for part in sentences for text in part),
                dtype=np.int32,
                count=int(lengths.sum()),
            )
        )
        levels[name] = tuple(places)
    known.setdefault("ids", np.arange(len(tokens)).astype(str))
    return Sequences(
        values=np.stack(codes, axis=1),
        starts=stops - lengths,
        stops=stops,
        first=stops - lengths,
        columns=tuple(columns),
        levels=levels,
        kind="tokens",
        **known,
    )


def tokens_of(sequences: Sequences, name: str, k: int) -> list[str]:
    """The tokens or the tags (`name`) of sequence `k`."""
    levels = sequences.levels[name]
    return [levels[code] for code in sequences[k][:, sequences.columns.index(name)].tolist()]


def read(
    source: Any, settings: DataSettings, *, purpose: Purpose
) -> tuple[Sequences, DataSettings, list[str]]:
    """The sentences of a file or of lists, the settings with all guesses, and notes.

    Raises:
        DataError: the source holds no token, or a line does not have the format of the others.
        ConfigError: a named column is missing.
    """
    if not isinstance(source, Path):
        return of_lists(source, purpose), settings, []
    notes: list[str] = []
    name = source.name.removesuffix(".gz").lower()
    lines = texts.lines(File(source), settings.encoding)
    if name.endswith(".in"):
        sentences = _pairs(source, lines, settings, purpose, notes)
    elif name.endswith(".txt") and (sign := _joint(lines)):
        sentences = _split(source, lines, sign)
        notes.append(f"{source.name} is read as tokens that {sign!r} joins with their tags")
    elif _is_conllu(source) or _has_columns(source, lines, settings, purpose):
        if not _is_conllu(source) and _is_header(lines[0]):
            notes.append(f"the first line of {source.name} names the columns and is skipped")
            lines[0] = ""
        columns = _Columns.found(source, lines, settings, purpose)
        settings = replace(settings, label=settings.label or columns.label)
        sentences = _rows(source, lines, columns)
        notes.append(columns.note(source))
    else:
        sentences = _plain(lines)
        notes.append(f"{source.name} is read as lines of tokens separated by white space")
    return _to_sequences(sentences, str(source)), settings, notes


SENTENCES = ("sentence #", "sentence_id", "sent_id", "sentence", "sentence_idx")


def holds_lists(table: Table, settings: DataSettings) -> bool:
    """True if a table has a column of lists of tokens and one of lists of tags, by their names."""
    kinds = table.kinds(settings.missing_values)
    lists = {name.lower() for name in table.columns if kinds[name] == "list"}
    return bool(HEADER & lists and {*TAGS, *(f"{tag}_tags" for tag in TAGS)} & lists)


def holds_rows(table: Table, settings: DataSettings) -> bool:
    """True if a table has columns of sentences, of tokens and of their tags, by their names."""
    folded = {name.lower() for name in table.columns}
    tokens = folded & {"token", "word", "form"}
    kinds = table.kinds(settings.missing_values)
    text = all(kinds[name] == "text" for name in table.columns if name.lower() in tokens)
    return bool(tokens and folded & {*SENTENCES} and folded & TAGS) and text


def from_table(
    table: Table, settings: DataSettings, *, purpose: Purpose
) -> tuple[Sequences, DataSettings, list[str]]:
    """Read a table with a token in each row, with lists of tokens and tags, or with spans of texts.

    An empty cell in the column of sentences continues the sentence, as in Kaggle's NER corpus.

    Raises:
        DataError: no column holds tokens, tags or sentences.
    """
    if read := _from_texts(table, settings, purpose):
        return read
    folded = {column.lower(): column for column in reversed(table.columns)}
    token = (
        settings.text[0] if settings.text else next((folded[n] for n in HEADER if n in folded), "")
    )
    # Named entities first, because such tables also hold parts of speech.
    order = ("ner_tags", "ner", "ner_tag", "tags", "tag", *sorted(TAGS))
    tag = settings.label or next((folded[name] for name in order if name in folded), "")
    if not token or (not tag and purpose != "predict"):
        raise DataError(
            f"{table.name}: no column is recognised as tokens and tags. Name them: --set "
            f"'data.text=[\"TOKEN\"]' --target TAG; the columns are {roles.listing(table.columns)}."
        )
    with_tags = bool(tag) and tag in table.columns
    sentence = next(
        (folded[name] for name in SENTENCES if name in folded and folded[name] != token), ""
    )
    frame = pl.concat(list(table.batches(list(filter(None, [token, tag * with_tags, sentence])))))
    settings = replace(settings, text=(token,), label=tag)
    notes = [f"tokens are read from {token!r}" + (f", tags from {tag!r}" if with_tags else "")]
    if isinstance(frame[token].dtype, pl.List):
        tokens = [row or [] for row in frame[token].to_list()]
        listed = (tokens, _lists(table, frame, tag)) if with_tags else tokens
        return of_lists(listed, purpose, table.name), settings, notes
    if not sentence:
        raise DataError(
            f"{table.name}: no column tells where a sentence begins. Name it {SENTENCES[0]!r} or "
            f"{SENTENCES[1]!r}."
        )
    names = frame[sentence].cast(pl.String).str.strip_chars()
    begins = names.set(names == "", None).fill_null(strategy="forward").rle_id()
    grouped = frame.with_columns(pl.all().cast(pl.String).fill_null("null"), begins.alias("begin"))
    lists = grouped.group_by("begin", maintain_order=True).agg(pl.all())
    tokens = lists[token].to_list()
    source = (tokens, lists[tag].to_list()) if with_tags else tokens
    notes.append(f"sentences are told apart by {sentence!r}")
    return of_lists(source, purpose, table.name), settings, notes


def _lists(table: Table, frame: pl.DataFrame, tag: str) -> list[list[str]]:
    """The lists of tags, which may be numbers.

    Raises:
        DataError: the column holds something else, or a list has an empty tag.
    """
    kind = frame[tag].dtype
    if not isinstance(kind, pl.List) or kind.inner.is_nested():
        raise DataError(
            f"{table.name}: the column {tag!r} must hold a list of tags for each list of tokens, "
            "with a text or a number for each token."
        )
    lists = [row or [] for row in frame[tag].to_list()]
    for row, tags in enumerate(lists):
        if None in tags:
            raise DataError(f"{table.name}: {table.at(row)} has an empty tag. Add the tag.")
    return [list(map(str, tags)) for tags in lists]


def _from_texts(
    table: Table, settings: DataSettings, purpose: Purpose
) -> tuple[Sequences, DataSettings, list[str]] | None:
    """Read texts with spans, or new texts for a run that was trained on such; None for others."""
    if found := spans.columns(table, settings):
        text, label = found
        made = of_lists(spans.tagged(table, text, label), purpose, table.name)
        note = (
            f"the spans of {text!r} that {label!r} lists are read as the tags B-, I- and O of its "
            "words and signs; write new texts into such a column, or with spaces around signs"
        )
        return made, replace(settings, text=(text,), label=label), [note]
    if found := spans.beside(table, settings):
        text, label = found
        frame = pl.concat(list(table.batches([text, label])))
        listed = (
            [(row or "").split() for row in frame[text].to_list()],
            [spans.tags_of(row) for row in frame[label].to_list()],
        )
        note = f"the words of {text!r} have the tags in {label!r}"
        made = of_lists(listed, purpose, table.name)
        return made, replace(settings, text=(text,), label=label), [note]
    kinds = table.kinds(settings.missing_values)
    texts_of = [name for name in settings.text if kinds.get(name) == "text"]
    if purpose != "predict" or not texts_of:
        return None
    cells = pl.concat(list(table.batches(texts_of)))[texts_of[0]].fill_null("")
    if settings.label in spans.SPANS:
        return of_lists(list(map(spans.words_of, cells)), purpose, table.name), settings, []
    sentences = 2 * int(cells.str.contains(r"\S\s+\S").sum()) > len(cells)
    if settings.label in table.columns or not sentences:
        return None
    return of_lists([cell.split() for cell in cells], purpose, table.name), settings, []


def _to_sequences(sentences: Sentences, source: str) -> Sequences:
    if not sentences.tokens:
        raise DataError(f"{source} holds no token.")
    known: dict[str, Any] = {"source": source}
    names = [name or str(k) for k, name in enumerate(sentences.ids)]
    known["ids"] = np.array(names)
    if len(set(sentences.documents)) >= MIN_DOCUMENTS:
        known["groups"] = np.array([str(number) for number in sentences.documents], dtype=object)
    return from_sentences(sentences.tokens, sentences.tags or None, **known)


def are_lists_of_tokens(source: Any) -> bool:
    """True for a list of lists of tokens, or a pair of one and its tags."""
    tokens = source[0] if isinstance(source, tuple) and source else source
    match tokens:
        case [[str(), *_], *_]:
            return isinstance(tokens, list)
    return False


def of_lists(source: Any, purpose: Purpose, name: str = "the sentences") -> Sequences:
    """Read sentences in memory: lists of tokens or texts, and for training lists of tags.

    `name` is the name of the source in messages.

    Raises:
        DataError: the lists have another form, or a sentence has a different number of tags.
    """
    sentences, tags = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    if purpose != "predict" and tags is None:
        raise DataError(f"{name} have no tags. Give a pair: lists of tokens, and lists of tags.")
    tokens = [_listed(sentence, place, name) for place, sentence in enumerate(sentences)]
    if not any(tokens):
        raise DataError(f"{name} hold no token.")
    kept = [place for place, words in enumerate(tokens) if words]  # skip empty sentences
    known: dict[str, Any] = {"ids": np.array(kept).astype(str), "source": name}
    chosen = [tokens[place] for place in kept]
    if tags is None:
        return from_sentences(chosen, **known)
    listed = [_listed(sentence, place, name) for place, sentence in enumerate(tags)]
    if len(listed) != len(tokens):
        raise DataError(f"There are {len(tokens)} sentences, but {len(listed)} lists of tags.")
    for place, (words, marks) in enumerate(zip(tokens, listed, strict=True)):
        if len(words) != len(marks):
            raise DataError(f"{name}: item {place} has {len(words)} tokens, but {len(marks)} tags.")
    return from_sentences(chosen, [listed[place] for place in kept], **known)


def _listed(sentence: Any, place: int, name: str) -> list[str]:
    if isinstance(sentence, str):
        return sentence.split()
    cells = list(sentence) if isinstance(sentence, Iterable) else [None]
    for cell in cells:
        if not isinstance(cell, str) or not cell.strip():
            raise DataError(
                f"{name}: item {place} holds {cell!r}, but a token must be a text with characters."
            )
    return [str(cell) for cell in cells]


# Files with lines of tokens and lines of tags


def _pairs(
    path: Path, lines: list[str], settings: DataSettings, purpose: Purpose, notes: list[str]
) -> Sentences:
    """Read seq.in with one sentence per line, and seq.out with its tags on the same line."""
    other = Path(settings.labels) if settings.labels else _sibling(path)
    sentences = _plain(lines)
    if other is None or not other.exists():
        if purpose == "predict":
            return sentences
        expected = other or path.with_name(path.name.replace(".in", ".out"))
        raise DataError(
            f"{path}: the file of tags, {expected}, does not exist. Create it, or name another "
            "file with data.labels."
        )
    tag_lines = texts.lines(File(other), settings.encoding)
    notes.append(f"the tags of {path.name} are read from {other.name}")
    if len(tag_lines) != len(lines):
        raise DataError(
            f"{path} has {len(lines)} lines, but {other} has {len(tag_lines)}. Line k of one must "
            "hold the tags of line k of the other."
        )
    for number, (words, tags) in enumerate(zip(lines, tag_lines, strict=True), 1):
        counts = len(words.split()), len(tags.split())
        if counts[0] != counts[1]:
            raise DataError(
                f"{path}: line {number} has {counts[0]} tokens, but {other.name} has "
                f"{counts[1]} tags there. Each token needs one tag."
            )
        if words.strip():
            sentences.tags.append(tags.split())
    return sentences


def _sibling(path: Path) -> Path | None:
    """NAME.out or NAME.out.gz in the folder of NAME.in."""
    stem = path.name.removesuffix(".gz").removesuffix(".in")
    near = (path.with_name(stem + ending) for ending in (".out", ".out.gz"))
    return next((file for file in near if file.exists()), None)


def _plain(lines: list[str]) -> Sentences:
    """Read one sentence per line, with tokens separated by white space.

    The id of a sentence is the number of its line, counted from 0 as rows are elsewhere. Empty
    lines are counted, but are not sentences.
    """
    sentences = Sentences()
    for number, line in enumerate(lines):
        if words := words_of(line):
            sentences.tokens.append(words)
            sentences.ids.append(str(number))
            sentences.documents.append(0)
    return sentences


# Files with one token per line


@dataclass(frozen=True)
class _Columns:
    """The columns of a file with one token per line."""

    token: int
    tag: int | None  # None: the file has no tags
    width: int
    tabs: bool
    label: str  # the name of the column of tags, or its number from 1
    conllu: bool
    required: bool  # True if every token must have a tag

    @staticmethod
    def found(path: Path, lines: list[str], settings: DataSettings, purpose: Purpose) -> "_Columns":
        """Determine the columns from the settings and the first line that holds a token."""
        conllu = _is_conllu(path)
        filled = [line for line in lines if line.strip() and not _is_comment(line)]
        first = next((line for line in filled if not line.startswith("#")), next(iter(filled), ""))
        tabs = conllu or "\t" in first.strip()
        width = len(CONLLU) if conllu else len(_cells(first, tabs))
        names = CONLLU if conllu else settings.column_names
        label = (settings.label or ("upos" if conllu else "")).lower() if conllu else settings.label
        label = label or (names[width - 1] if len(names) >= width > 1 else str(width))
        place = _place(label, names, width)
        if width == 1 or (place is None and purpose == "predict"):
            place = None
        elif place is None:
            raise ConfigError(
                f"{path} has no column '{label}' (data.label). It has "
                f"{', '.join(names[:12]) if names else f'{width} columns, numbered from 1'}."
            )
        if place is None and purpose != "predict":
            raise DataError(
                f"{path}: a line holds one cell ({first.strip()!r}), a token without a tag. Write "
                "one line for each token, with its tag after the token."
            )
        text = settings.text[0] if settings.text else ("form" if conllu else "1")
        token = _place(text, names, width)
        if token is None:
            raise ConfigError(f"{path} has no column '{text}' (data.text).")
        return _Columns(token, place, width, tabs, label, conllu, purpose != "predict")

    def note(self, path: Path) -> str:
        """A note that names the column of tags."""
        if self.tag is None:
            return f"{path.name} is read as one token per line"
        name = self.label if self.conllu else f"column {self.tag + 1}"
        return f"the tags are read from {name} of {path.name}"


def _has_columns(path: Path, lines: list[str], settings: DataSettings, purpose: Purpose) -> bool:
    """True if each line holds a token, not a sentence."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if purpose != "predict" or suffix in COLUMNED:
        return True
    # New text usually has one sentence per line, but test.txt may have the columns of train.txt.
    train_suffix = Path(settings.path.removesuffix(".gz")).suffix.lower()
    widths = {len(line.split()) for line in lines if line.strip() and not _is_comment(line)}
    likely = {1, int(settings.label) if settings.label.isdigit() else 1}
    return suffix == train_suffix and len(widths) == 1 and widths <= likely


def _is_comment(line: str) -> bool:
    return line.startswith(("# ", "#\xa0", DOCUMENT))


def _is_header(line: str) -> bool:
    """True if a line names the columns instead of holding a token and its tag."""
    cells = [cell.lower() for cell in line.split()]
    return len(cells) > 1 and bool(HEADER & set(cells)) and bool(TAGS & set(cells))


def _cells(line: str, tabs: bool) -> list[str]:
    return line.strip("\r\n").split("\t") if tabs else words_of(line)


def words_of(line: str) -> list[str]:
    r"""The words between spaces and tabs; other white space may belong to a token.

    >>> words_of(" 10\xa0000 O ")
    ['10\xa0000', 'O']
    """
    return [word for word in re.split(r"[ \t\r\n]+", line) if word]


def _place(name: str, names: Sequence[str], width: int) -> int | None:
    """The position of the column with this name or number (from 1); None if it is missing."""
    if name in names:
        return list(names).index(name)
    return int(name) - 1 if name.isdigit() and 1 <= int(name) <= width else None


def _comments(lines: list[str], columns: _Columns) -> set[int]:
    """The numbers (from 1) of the lines that begin with # and are comments.

    A line with another number of cells than tokens have is a comment. A line with the same number
    ("# doc 3") is a comment if it precedes the first token of its sentence and its tag occurs with
    no token.
    """
    comments: set[int] = set()
    ambiguous: dict[int, str] = {}
    tags: set[str] = set()
    inside = False
    for number, line in enumerate(lines, 1):
        cells = _cells(line, columns.tabs)
        fits = len(cells) == columns.width and not line.startswith(DOCUMENT)
        if not line.strip():
            inside = False
        elif columns.conllu:  # lines of tokens begin with a number
            comments |= {number} if line.startswith("#") else set()
        elif not fits and (_is_comment(line) or (line.startswith("#") and not inside)):
            comments |= {number}
        elif fits and columns.tag is not None:
            if _is_comment(line) and not inside and not _is_hash_token(cells, columns):
                ambiguous[number] = cells[columns.tag].strip()
            else:
                inside = True
                tags.add(cells[columns.tag].strip())
    return comments | {number for number, tag in ambiguous.items() if tag not in tags}


def _is_hash_token(cells: list[str], columns: _Columns) -> bool:
    """True if the token of a line is #; in the Penn Treebank, its tag is # too."""
    return len(cells) == columns.width and "#" in cells[1:]


def _rows(path: Path, lines: list[str], columns: _Columns) -> Sentences:
    sentences = Sentences()
    words: list[str] = []
    tags: list[str] = []
    name, document = "", 0
    for cells in _events(path, lines, columns):
        if isinstance(cells, tuple):
            words.append(cells[0])
            tags.append(cells[1])
        elif cells.startswith(_ID):
            name = cells.removeprefix(_ID)
        elif cells == DOCUMENT:
            document += 1
        elif words:  # the sentence ends
            sentences.tokens.append(words)
            sentences.tags.append(tags)
            sentences.ids.append(name)
            sentences.documents.append(document)
            words, tags, name = [], [], ""
    if columns.tag is None or all(set(cells) == {MISSING} for cells in sentences.tags):
        sentences.tags = []
    return sentences


_ID = "sent_id = "


def _events(path: Path, lines: list[str], columns: _Columns) -> Iterator[tuple[str, str] | str]:
    """Yield tokens with tags, ids of sentences, DOCUMENT before documents, "" after sentences."""
    comments = _comments(lines, columns)
    for number, line in enumerate([*lines, ""], 1):
        if not line.strip():
            yield ""
        elif line.startswith(DOCUMENT):
            yield DOCUMENT
        elif number in comments:
            comment = line.lstrip("#").strip()
            if comment.startswith("newdoc"):
                yield DOCUMENT
            elif comment.startswith(_ID):
                yield comment
        elif cells := _checked(line, columns, f"{path}: line {number}"):
            yield cells


def _checked(line: str, columns: _Columns, place: str) -> tuple[str, str] | None:
    """The token and the tag of a line; None for lines of CoNLL-U without a syntactic word."""
    cells = _cells(line, columns.tabs)
    if len(cells) != columns.width:
        by = "tabs" if columns.tabs else "white space"
        raise DataError(
            f"{place} has {len(cells)} cells separated by {by} ({line.strip()[:60]!r}), but "
            f"{'CoNLL-U' if columns.conllu else 'the first line'} has {columns.width}. Correct "
            "the line; an empty line ends a sentence."
        )
    if columns.conllu and not cells[0].isdigit():
        return None  # 3-4 is a contraction of two words; 5.1 is an omitted word
    word = cells[columns.token].strip()
    if not word:
        raise DataError(f"{place} has no token in column {columns.token + 1}.")
    if columns.tag is None:
        return word, ""
    tag = cells[columns.tag].strip()
    missing = not tag or (columns.conllu and columns.label in NEVER_MISSING and tag == MISSING)
    if missing and columns.required:
        raise DataError(
            f"{place}: {word!r} has no tag ({columns.label}). Add the tag, remove the sentence, or "
            "choose another column (data.label)."
        )
    return word, tag or MISSING

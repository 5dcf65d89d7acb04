"""Tokens with their tags -> Sequences: CoNLL columns, CoNLL-U, lines of tokens beside their tags.

A step is a token. `values` holds positions in `levels`: of the token, and of its tag where known.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.readers import texts
from gatewise.readers.columns import Purpose
from gatewise.readers.tables import File
from gatewise.settings import DataSettings

TOKEN, TAG = "token", "tag"
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
MISSING = "_"  # CoNLL-U's mark of an empty cell
NEVER_MISSING = ("upos", "xpos", "deprel")  # where that mark is no tag; a word may have no feats
COLUMNED = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".ner", ".pos", ".conllx", ".tsv")
TABLES = (".csv", ".jsonl", ".ndjson", ".json", ".parquet")
HEADER = frozenset(("token", "tokens", "word", "words", "form", "text"))  # and no tag beside it
TAGS = frozenset(("tag", "tags", "label", "labels", "pos", "upos", "ner", "ner_tag", "ner_tags"))
DOCUMENT = "-DOCSTART-"  # CoNLL-2003's first line of a document
FEWEST_GROUPS = 10  # documents; fewer cannot be dealt out in any proportion


@dataclass
class Sentences:
    """What has been read so far."""

    tokens: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # "" where the file gives none
    documents: list[int] = field(default_factory=list)  # the number of each sentence's; 0: none yet


def holds_tokens(path: Path) -> bool:
    """Whether a file's name alone tells that it holds tokens with tags."""
    name = path.name.removesuffix(".gz").lower()
    return _is_conllu(path) or name == "seq.in" or Path(name).suffix in COLUMNED[:-1]


def _is_conllu(path: Path) -> bool:
    return path.name.removesuffix(".gz").lower().endswith(".conllu")


def from_sentences(
    tokens: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]] | None = None,
    **known: Any,
) -> Sequences:
    """Sequences of these sentences, with a tag for each token or none at all.

    >>> tagged = from_sentences([["a", "rose"], ["is"]], [["DET", "NOUN"], ["VERB"]])
    >>> tokens_of(tagged, TAG, 0)
    ['DET', 'NOUN']
    """
    lengths = np.array([len(one) for one in tokens], dtype=np.int64)
    stops = np.cumsum(lengths, dtype=np.int64)
    columns = {TOKEN: tokens} | ({} if tags is None else {TAG: tags})
    levels, codes = {}, []
    for name, sentences in columns.items():
        places: dict[str, int] = {}
        codes.append(
            np.fromiter(
                (places.setdefault(one, len(places)) for part in sentences for one in part),
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
    """The sentences of a file or of lists, the settings with guesses filled in, and notes.

    Raises:
        DataError: nothing is in it, or a line is not as the others are; the message names it.
        ConfigError: a column is asked for that is not there.
    """
    if not isinstance(source, Path):
        return of_lists(source, purpose), settings, []
    notes: list[str] = []
    name = source.name.removesuffix(".gz").lower()
    if name.endswith(TABLES):
        raise DataError(
            f"{source}: tag reads a token a line with its tag behind it (CoNLL, CoNLL-U), or lines "
            "of tokens beside lines of tags (seq.in, seq.out), and no tables. From Python, give a "
            "pair: lists of tokens, and lists of tags."
        )
    lines = texts.lines(File(source), settings.encoding)
    if name.endswith(".in"):
        found = _pairs(source, lines, settings, purpose, notes)
    elif _is_conllu(source) or _has_columns(source, lines, settings, purpose):
        if not _is_conllu(source) and _is_header(lines[0]):
            notes.append(f"the first line of {source.name} names the columns and is left out")
            lines[0] = ""
        columns = _Columns.told(source, lines, settings, purpose)
        settings = replace(settings, label=settings.label or columns.label)
        found = _rows(source, lines, columns)
        notes.append(columns.said(source))
    else:
        found = _plain(lines)
        notes.append(f"{source.name} is read as lines of tokens that stand between white space")
    return _gathered(found, str(source)), settings, notes


def _gathered(found: Sentences, source: str) -> Sequences:
    if not found.tokens:
        raise DataError(f"{source} holds no token.")
    known: dict[str, Any] = {"source": source}
    names = [one or str(k) for k, one in enumerate(found.ids)]
    known["ids"] = np.array(names)
    if len(set(found.documents)) >= FEWEST_GROUPS:
        known["groups"] = np.array([str(one) for one in found.documents], dtype=object)
    return from_sentences(found.tokens, found.tags or None, **known)


def of_lists(source: Any, purpose: Purpose) -> Sequences:
    """Sentences in memory: lists of tokens or texts, and for training lists of tags beside them.

    Raises:
        DataError: they are of another form, or a sentence has more tokens than tags.
    """
    name = "the sentences"
    given, tags = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    if purpose != "predict" and tags is None:
        raise DataError(
            f"{name}: there are no tags. Give a pair: lists of tokens, and lists of tags."
        )
    tokens = [_listed(one, place, name) for place, one in enumerate(given)]
    if not any(tokens):
        raise DataError(f"{name} hold no token.")
    kept = [place for place, one in enumerate(tokens) if one]  # an empty one is no sentence
    known: dict[str, Any] = {"ids": np.array(kept).astype(str), "source": name}
    chosen = [tokens[place] for place in kept]
    if tags is None:
        return from_sentences(chosen, **known)
    listed = [_listed(one, place, name) for place, one in enumerate(tags)]
    if len(listed) != len(tokens):
        raise DataError(f"{name}: there are {len(tokens)}, but {len(listed)} lists of tags.")
    for place, (words, told) in enumerate(zip(tokens, listed, strict=True)):
        if len(words) != len(told):
            raise DataError(f"{name}: place {place} has {len(words)} tokens, but {len(told)} tags.")
    return from_sentences(chosen, [listed[place] for place in kept], **known)


def _listed(one: Any, place: int, name: str) -> list[str]:
    if isinstance(one, str):
        return one.split()
    cells = list(one) if isinstance(one, Iterable) else [None]
    for cell in cells:
        if not isinstance(cell, str) or not cell.strip():
            raise DataError(
                f"{name}: place {place} holds {cell!r}, and a token is a text that is not empty."
            )
    return [str(cell) for cell in cells]


# Lines of tokens beside lines of tags


def _pairs(
    path: Path, lines: list[str], settings: DataSettings, purpose: Purpose, notes: list[str]
) -> Sentences:
    """seq.in, a sentence a line; and seq.out with the tags, line by line."""
    beside = Path(settings.labels) if settings.labels else _sibling(path)
    found = _plain(lines)
    if beside is None or not beside.exists():
        if purpose == "predict":
            return found
        wanted = beside or path.with_name(path.name.replace(".in", ".out"))
        raise DataError(
            f"{path}: there is no {wanted} with the tags. Put it there, or name it (data.labels)."
        )
    told = texts.lines(File(beside), settings.encoding)
    notes.append(f"the tags of {path.name} are those of {beside.name} beside it")
    if len(told) != len(lines):
        raise DataError(
            f"{path} has {len(lines)} lines, and {beside} has {len(told)}. Line by line they "
            "must belong together."
        )
    for number, (words, tags) in enumerate(zip(lines, told, strict=True), 1):
        counts = len(words.split()), len(tags.split())
        if counts[0] != counts[1]:
            raise DataError(
                f"{path}: line {number} has {counts[0]} tokens, and {beside.name} has "
                f"{counts[1]} tags there. Each token needs one tag."
            )
        if words.strip():
            found.tags.append(tags.split())
    return found


def _sibling(path: Path) -> Path | None:
    """NAME.out beside NAME.in, packed or not."""
    stem = path.name.removesuffix(".gz").removesuffix(".in")
    near = (path.with_name(stem + ending) for ending in (".out", ".out.gz"))
    return next((one for one in near if one.exists()), None)


def _plain(lines: list[str]) -> Sentences:
    """A sentence a line, its tokens between white space; a sentence's id is its line's number.

    Lines are counted from 0, as rows are elsewhere; empty ones are counted, and left out.
    """
    found = Sentences()
    for number, line in enumerate(lines):
        if words := line.split():
            found.tokens.append(words)
            found.ids.append(str(number))
            found.documents.append(0)
    return found


# A token a line


@dataclass(frozen=True)
class _Columns:
    """Where the cells of a line stand."""

    token: int
    tag: int | None  # None: the file says no tags
    width: int
    tabs: bool
    label: str  # the name of the column of tags, or its number from 1
    conllu: bool
    demanded: bool  # whether every token must have a tag

    @staticmethod
    def told(path: Path, lines: list[str], settings: DataSettings, purpose: Purpose) -> "_Columns":
        """By the first line that holds a token."""
        conllu = _is_conllu(path)
        filled = [one for one in lines if one.strip() and not _is_aside(one)]
        first = next((one for one in filled if not one.startswith("#")), next(iter(filled), ""))
        tabs = conllu or "\t" in first
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
                f"{', '.join(names) if names else f'{width} columns, numbered from 1'}."
            )
        if place is None and purpose != "predict":
            raise DataError(
                f"{path}: a line holds one cell ({first.strip()!r}), a token without a tag. Give "
                "a line for each token, with its tag behind it."
            )
        wanted = settings.text[0] if settings.text else ("form" if conllu else "1")
        token = _place(wanted, names, width)
        if token is None:
            raise ConfigError(f"{path} has no column '{wanted}' (data.text).")
        return _Columns(token, place, width, tabs, label, conllu, purpose != "predict")

    def said(self, path: Path) -> str:
        """What has been taken for the tags, as a note."""
        if self.tag is None:
            return f"{path.name} is read as one token a line"
        name = self.label if self.conllu else f"column {self.tag + 1}"
        return f"the tags are those of {name} in {path.name}"


def _has_columns(path: Path, lines: list[str], settings: DataSettings, purpose: Purpose) -> bool:
    """Whether a line holds a token, and not a sentence."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if purpose != "predict" or suffix in COLUMNED:
        return True
    # New text comes in lines; but whoever trained on train.txt in columns may have a test.txt.
    taught = Path(settings.path.removesuffix(".gz")).suffix.lower()
    widths = {len(line.split()) for line in lines if line.strip() and not _is_aside(line)}
    likely = {1, int(settings.label) if settings.label.isdigit() else 1}
    return suffix == taught and len(widths) == 1 and widths <= likely


def _is_aside(line: str) -> bool:
    return line.startswith(("# ", "#\xa0", DOCUMENT))


def _is_header(line: str) -> bool:
    """Whether a line names columns, and is no token with its tag."""
    cells = [cell.lower() for cell in line.split()]
    return len(cells) > 1 and bool(HEADER & set(cells)) and bool(TAGS & set(cells))


def _cells(line: str, tabs: bool) -> list[str]:
    return line.rstrip("\n").split("\t") if tabs else line.split()


def _place(name: str, names: Sequence[str], width: int) -> int | None:
    """Where the column of this name, or of this number from 1, stands; None: nowhere."""
    if name in names:
        return list(names).index(name)
    return int(name) - 1 if name.isdigit() and 1 <= int(name) <= width else None


def _comments(lines: list[str], columns: _Columns) -> set[int]:
    """The lines, counted from 1, that begin with # and are no tokens.

    A line of another width is none. One as wide as those of tokens ("# doc 3") is none where it
    stands before the first token of its sentence, and its last cell is no tag that a token has.
    """
    found: set[int] = set()
    doubtful: dict[int, str] = {}
    tags: set[str] = set()
    inside = False
    for number, line in enumerate(lines, 1):
        cells = _cells(line, columns.tabs)
        fits = len(cells) == columns.width and not line.startswith(DOCUMENT)
        if not line.strip():
            inside = False
        elif columns.conllu:  # there a token's line begins with its number
            found |= {number} if line.startswith("#") else set()
        elif not fits and (_is_aside(line) or (line.startswith("#") and not inside)):
            found |= {number}
        elif fits and columns.tag is not None:
            if _is_aside(line) and not inside and not _is_sign(cells, columns):
                doubtful[number] = cells[columns.tag].strip()
            else:
                inside = True
                tags.add(cells[columns.tag].strip())
    return found | {number for number, tag in doubtful.items() if tag not in tags}


def _is_sign(cells: list[str], columns: _Columns) -> bool:
    """Whether the line is that of a # in a text: in the Penn Treebank its tag is # too."""
    return len(cells) == columns.width and "#" in cells[1:]


def _rows(path: Path, lines: list[str], columns: _Columns) -> Sentences:
    found = Sentences()
    words: list[str] = []
    tags: list[str] = []
    name, document = "", 0
    for cells in _told(path, lines, columns):
        if isinstance(cells, tuple):
            words.append(cells[0])
            tags.append(cells[1])
        elif cells.startswith(_ID):
            name = cells.removeprefix(_ID)
        elif cells == DOCUMENT:
            document += 1
        elif words:  # the sentence is over
            found.tokens.append(words)
            found.tags.append(tags)
            found.ids.append(name)
            found.documents.append(document)
            words, tags, name = [], [], ""
    if columns.tag is None or all(set(one) == {MISSING} for one in found.tags):
        found.tags = []
    return found


_ID = "sent_id = "


def _told(path: Path, lines: list[str], columns: _Columns) -> Iterator[tuple[str, str] | str]:
    """Token and tag of each line; DOCUMENT where one begins, a sentence's id, "" at its end."""
    comments = _comments(lines, columns)
    for number, line in enumerate([*lines, ""], 1):
        if not line.strip():
            yield ""
        elif line.startswith(DOCUMENT):
            yield DOCUMENT
        elif number in comments:
            said = line.lstrip("#").strip()
            if said.startswith("newdoc"):
                yield DOCUMENT
            elif said.startswith(_ID):
                yield said
        elif cells := _checked(line, columns, f"{path}: line {number}"):
            yield cells


def _checked(line: str, columns: _Columns, place: str) -> tuple[str, str] | None:
    """Token and tag; None where a line of CoNLL-U holds no word of its own."""
    cells = _cells(line, columns.tabs)
    if len(cells) != columns.width:
        by = "tabs" if columns.tabs else "white space"
        raise DataError(
            f"{place} has {len(cells)} cells between {by} ({line.strip()[:60]!r}), and "
            f"{'CoNLL-U' if columns.conllu else 'the first line'} has {columns.width}. Mend the "
            "line; an empty line ends a sentence."
        )
    if columns.conllu and not cells[0].isdigit():
        return None  # 3-4, a word that is written as one and read as two; 5.1, one left out
    word = cells[columns.token].strip()
    if not word:
        raise DataError(f"{place} has no token in column {columns.token + 1}.")
    if columns.tag is None:
        return word, ""
    tag = cells[columns.tag].strip()
    missing = not tag or (columns.conllu and columns.label in NEVER_MISSING and tag == MISSING)
    if missing and columns.demanded:
        raise DataError(
            f"{place}: {word!r} has no tag ({columns.label}). Give it one, take its sentence out, "
            "or choose another column (data.label)."
        )
    return word, tag or MISSING

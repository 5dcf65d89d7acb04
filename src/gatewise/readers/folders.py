"""Read a folder or a zip archive that holds one table for each sequence, as one table.

The name of a file becomes the column `sequence_id`. Labels come from a table in the same folder
that names the files, or from the folders in which the files are. Files called `.txt` or `.dat` are
tables if such a table names them.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from gatewise.errors import DataError
from gatewise.readers import archives
from gatewise.readers.cells import SAMPLE
from gatewise.readers.columns import PARTS
from gatewise.readers.delimited import delimited
from gatewise.readers.files import File, unpacked
from gatewise.readers.roles import listing
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

SEPARATORS = {".csv": ",", ".tsv": "\t"}
TEXTS = (".txt", ".dat")
ID, LABEL = "sequence_id", "label"
NAMED = 0.9  # share of the files that a table of labels must name


@dataclass(frozen=True)
class Part:
    """One file: its relative path, its table, and the cells that all of its rows have."""

    name: str
    table: Table
    stem: str = ""  # the path without its suffix and without the folders that all files share
    cells: Mapping[str, str | None] = field(default_factory=dict)


def holds_tables(path: Path) -> bool:
    """True for a folder with a table, and for an archive with several tables and nothing else.

    An archive may also hold a table that names texts, and a README beside folders of tables.
    """
    if path.is_dir():
        return any(_is_table(name) for name in names_in(path))
    if not archives.is_archive(path):
        return False
    names = names_in(path)
    tables = [name for name in names if _is_table(name)]
    beside = [name for name in names if name not in tables]
    if len({PurePosixPath(name).parent for name in tables}) > 1:  # the folders of labels
        beside = [name for name in beside if not _is_about(name)]
    return len(tables) > 1 and not beside or len(names) > 1 and bool(_named_texts(path, names))


def _is_about(name: str) -> bool:
    """True for what stands beside data: a README, a licence, what Windows keeps."""
    file = PurePosixPath(name).name
    return archives.ABOUT.match(file) is not None or file in ("Thumbs.db", "desktop.ini")


def _is_table(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(tuple(SEPARATORS))


def _named_texts(path: Path, names: Sequence[str]) -> list[str]:
    """The texts that a table of a folder or an archive names: they are tables, too."""
    texts = [name for name in names if PurePosixPath(name.lower()).suffix in TEXTS]
    tables = [name for name in names if _is_table(name)]
    if len(texts) < 2 or len(tables) != 1:
        return []
    part = Part(tables[0], table_in(path, tables[0], DataSettings()))
    for stems in _keys([_stem(name) for name in _below_common([*tables, *texts])][1:]):
        if column := _naming(part, stems):
            named = _cells(part.table, column)
            return [name for name, stem in zip(texts, stems, strict=True) if stem in named]
    return []


def names_in(path: Path) -> list[str]:
    """The relative paths of the files, in order, without hidden ones."""
    if path.is_dir():
        found = [one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file()]
    else:
        found = archives.names(path)
    return sorted(name for name in found if not archives.is_hidden(name))


def read(path: Path, settings: DataSettings) -> Table:
    """The rows of all tables, with the columns `sequence_id` and, if there are labels, `label`.

    Raises:
        DataError: a file cannot be read, or the files have different columns.
    """
    every = names_in(path)
    texts = _named_texts(path, every)
    names = [name for name in every if _is_table(name) or name in texts]
    share = max(2, SAMPLE // len(names))  # rows that are kept of each table
    parts = [Part(name, _short(table_in(path, name, settings), share)) for name in names]
    parts, notes = _labelled(str(path), parts)
    _refuse_apart(str(path), parts)
    columns = parts[0].table.columns
    for part in parts:
        if set(part.table.columns) != set(columns):
            other = sorted(set(part.table.columns) ^ set(columns))
            raise DataError(
                f"{path}: the tables must have the same columns, but only one of {parts[0].name} "
                f"and {part.name} has {', '.join(map(repr, other[:4]))}. Correct the file, or put "
                "it into another folder."
            )
    begins: list[int] = []  # row at which each file begins, known once it is read

    def batches(wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        begins.clear()
        row = 0
        for part in parts:
            begins.append(row)
            own = [name for name in wanted if name in columns] or columns[:1]
            for batch in part.table.batches(own):
                row += batch.height
                yield _with_cells(batch, part, columns).select(wanted)

    def at(row: int) -> str:
        place = max(bisect_right(begins, row) - 1, 0)
        begin = begins[place] if begins else 0
        return f"{parts[place].table.at(row - begin)} of {parts[place].name}"

    heads = [_with_cells(part.table.sample.select(columns), part, columns) for part in parts]
    own_notes = dict.fromkeys(note for part in parts for note in part.table.notes)
    written = (part.table.dialect for part in parts)
    dialect = next((one for one in written if one and one.decimal), parts[0].table.dialect)
    return Table(
        str(path),
        pl.concat(heads),
        sum(part.table.likely for part in parts),
        batches,
        notes=(f"{len(parts)} files are read, one sequence each", *notes, *own_notes),
        dialect=dialect,
        place=at,
    )


def table_in(path: Path, name: str, settings: DataSettings) -> Table:
    """The table of one file, which messages call by its path."""
    file = File(path / name) if path.is_dir() else unpacked(path, name)
    suffix = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    return delimited(file, SEPARATORS.get(suffix, ""), settings)


def _refuse_apart(source: str, parts: Sequence[Part]) -> None:
    """Refuse a single table without a column of the others, which may hold labels.

    Raises:
        DataError: there is one, and it does not name the files.
    """
    counts = Counter(name for part in parts for name in part.table.columns)
    alone = [part for part in parts if all(counts[name] == 1 for name in part.table.columns)]
    if len(parts) > 2 and len(alone) == 1:
        odd, other = alone[0], next(part for part in parts if part is not alone[0])
        raise DataError(
            f"{source}: {odd.name} has the columns {_quoted(odd.table.columns)}, and the other "
            f"{len(parts) - 1} tables have {_quoted(other.table.columns)}. If it holds labels, one "
            f"of its columns must name the files, such as {other.name} or {_stem(other.name)}; "
            "otherwise put it into another folder."
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:4])) + (" ..." if len(names) > 4 else "")


def _short(table: Table, rows: int) -> Table:
    """The table with a sample of these rows, copied, because a slice keeps the others, too."""
    head = table.sample.head(rows)
    return replace(table, sample=pl.DataFrame(head.to_dict(as_series=False), schema=head.schema))


def _with_cells(batch: pl.DataFrame, part: Part, columns: Sequence[str]) -> pl.DataFrame:
    cells = {name: cell for name, cell in part.cells.items() if name not in columns}
    return batch.with_columns(pl.lit(cell, pl.String).alias(name) for name, cell in cells.items())


def _labelled(source: str, parts: list[Part]) -> tuple[list[Part], list[str]]:
    """The tables of sequences with their ids and labels, and notes about them."""
    stems = [_stem(name) for name in _below_common([part.name for part in parts])]
    parts = [replace(part, stem=stem) for part, stem in zip(parts, stems, strict=True)]
    for part, keys in product(parts if len(parts) > 2 else [], _keys(stems)):
        column = _naming(part, keys)
        named = [name for name in part.table.columns if _stem(name) in keys]
        if any(column is not None or _stem(name) != name for name in named):
            raise DataError(
                f"{source}: the first line of {part.name} names the file {named[0]}, so it lacks "
                "the names of its columns. Add a line such as file,label at its top."
            )
        if column is None:
            continue
        key = dict(zip((one.name for one in parts), keys, strict=True))
        rows = pl.concat(list(part.table.batches(part.table.columns)))
        others = [one for one in part.table.columns if one != column]
        known: dict[str, dict[str, Any]] = {}
        for row in rows.iter_rows(named=True):
            file, cells = _stem(str(row[column])), {name: row[name] for name in others}
            if known.setdefault(file, cells) != cells:
                raise DataError(
                    f"{source}: {part.name} names {str(row[column])!r} twice, with other cells: "
                    f"{_shown(known[file])} and {_shown(cells)}. Keep one row for each file."
                )
        rest = [one for one in parts if one is not part]
        absent = sorted(known.keys() - {key[one.name] for one in rest})
        if taken := sorted(set(others) & set(rest[0].table.columns)):
            raise DataError(
                f"{source}: {part.name} names the other files, but both have a column {taken[0]!r}."
                " Rename one of them."
            )
        nothing = dict.fromkeys(others)
        made = [
            replace(one, cells={ID: one.stem, **known.get(key[one.name], nothing)}) for one in rest
        ]
        shown = ", ".join(map(repr, others[:4]))
        notes = [f"the table {part.name} names the other files, which get its columns {shown}"]
        if absent:
            count = f"{len(absent)} names have no file" if len(absent) > 1 else "1 name has no file"
            notes.append(f"in {part.name}, {count}; the first is {absent[0]!r}")
        return made, notes
    folders = [PurePosixPath(stem).parent.as_posix() for stem in stems]
    if len(set(folders)) > 1 and "." not in folders and LABEL not in parts[0].table.columns:
        refuse_parts(source, folders)
        made = [
            replace(part, cells={ID: part.stem, LABEL: folder})
            for part, folder in zip(parts, folders, strict=True)
        ]
        return made, [f"the folder of a file is taken as its label ({LABEL!r})"]
    return [replace(one, cells={ID: one.stem}) for one in parts], []


def refuse_parts(source: str, folders: Iterable[str]) -> None:
    """Refuse folders that are parts, such as train and test, and no labels."""
    tops = sorted({folder.partition("/")[0] for folder in folders})
    if len(tops) < 2 or not {top.lower() for top in tops} <= PARTS:
        return
    first = next((top for top in tops if top.lower().startswith("train")), tops[0])
    other = next(top for top in tops if top != first)
    raise DataError(
        f"{source} holds the parts {listing(tops)}, which are not labels. Give {source}/{first}, "
        f"and --set data.test={source}/{other}; unpack an archive first."
    )


def _shown(cells: Mapping[str, Any]) -> str:
    return ", ".join(str(cell) for cell in cells.values())


def _keys(stems: list[str]) -> list[list[str]]:
    """What a table of labels may call files: paths, or names without folders that are unique."""
    names = [PurePosixPath(stem).name for stem in stems]
    return [stems, names] if names != stems and len(set(names)) == len(names) else [stems]


def _naming(part: Part, stems: Sequence[str]) -> str | None:
    """The column of a table that names the other files; None if there is none."""
    others = Counter(stem for stem in stems if stem != part.stem)
    for column in part.table.columns if part.table.likely >= len(others) * NAMED else []:
        if len(_cells(part.table, column) & set(others)) >= NAMED * len(others):
            return column
    return None


def _cells(table: Table, column: str) -> set[str]:
    """What a column calls files."""
    batches = table.batches([column])
    return {_stem(str(cell)) for batch in batches for cell in batch.to_series().drop_nulls()}


def _below_common(names: list[str]) -> list[str]:
    """The paths without the folders that all of them share."""
    while all("/" in name for name in names):
        tops = {name.partition("/")[0] for name in names}
        if len(tops) > 1:
            break
        names = [name.partition("/")[2] for name in names]
    return names


def _stem(name: str) -> str:
    """The path without its suffix, with which tables of labels and ids name a file."""
    plain = name.removesuffix(".gz")
    suffix = PurePosixPath(plain).suffix
    return plain.removesuffix(suffix) if suffix.lower() in (*SEPARATORS, *TEXTS) else plain

"""Numbers without column names -> Sequences: arrays in memory, .npz, IDX and .ts files."""

import math
import re
import tokenize
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from gatewise.data.sequences import Array, Sequences, from_arrays
from gatewise.errors import DataError
from gatewise.readers.archives import MARK
from gatewise.readers.files import File, other_encoding, reading
from gatewise.readers.labels import whole_label
from gatewise.readers.long import Origin
from gatewise.readers.memory import names_of, without_numbers

MAX_DIMENSIONS = 16  # a file whose header announces more is not an IDX file
# What zipfile and NumPy raise for a damaged archive, an unknown packing and a damaged header.
NO_ARRAY = (zipfile.BadZipFile, NotImplementedError, tokenize.TokenError)
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class Arrays:
    """Sequences with all columns of the source."""

    name: str
    kind: str  # "the file is IDX images": the reason for a guess
    sequences: Sequences
    lines: Array | None = None  # [sequences] line number of each sequence in its file
    truth: Any = None  # y as given: labels, or numbers for each sequence or each step; None: none
    test: str = ""  # the path of a test part in the same file

    @property
    def truth_per_step(self) -> bool:
        """True if y is a list of arrays, or [sequences, steps, targets]."""
        if isinstance(self.truth, list) and self.truth:
            return all(isinstance(one, np.ndarray) and one.ndim > 0 for one in self.truth)
        return isinstance(self.truth, np.ndarray) and self.truth.ndim == 3


def origin(content: Arrays) -> Origin:
    """The origin of the steps, which messages name by sequence or line."""
    sequences = content.sequences

    def at(step: int) -> str:
        sequence = int(np.searchsorted(sequences.starts, step, side="right")) - 1
        place = f"step {step - sequences.starts[sequence] + 1}"
        if content.lines is None:
            return place
        return f"line {content.lines[sequence]}, {place}"

    return Origin(content.name, at)


def of(source: Any, *, one_series: bool) -> Arrays:
    """Read an array, a list of arrays or tables of unequal lengths, or a pair (X, y).

    An array [steps] without labels is one sequence; with `one_series`, [steps, columns] is, too.

    Raises:
        DataError: the array has another shape, or X and y differ in length.
    """
    labels = None
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError(f"A tuple must be a pair (X, y). Received: {len(source)} items.")
        source, labels = source
    names = names_of(source)
    held = "tables" if names else "arrays"
    name = f"the list of {held}" if isinstance(source, list) else "the array"
    if isinstance(source, list) and not _is_one_array(source):
        listed = [_numeric(array, f"{name}, sequence {k}") for k, array in enumerate(source)]
        sequences = joined(listed, name)
        if names:
            sequences = replace(sequences, columns=names)
    else:
        whole = _numeric(source, name)
        single = labels is None and (whole.ndim == 1 or (one_series and whole.ndim == 2))
        sequences = stacked(whole[None] if single else whole, name)
    return Arrays(name, f"{name} comes", labelled(sequences, labels, name), truth=labels)


def _is_one_array(source: Sequence[Any]) -> bool:
    return bool(source) and all(isinstance(item, int | float | np.number) for item in source)


def _numeric(source: Any, name: str) -> Array:
    try:
        array = np.asarray(source)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf":
        raise without_numbers(array, name)
    # Integers keep their type: images then need an eighth of the memory.
    return array if array.dtype.kind in "iu" else array.astype(np.float64)


def joined(listed: list[Array], name: str) -> Sequences:
    """Join a list of arrays [steps] or [steps, columns]."""
    if not listed:
        raise DataError(f"{name} is empty. It needs one array for each sequence.")
    shapes = [array.shape for array in listed]
    widths = {shape[1:] for shape in shapes}
    if len(widths) > 1 or len(shapes[0]) not in (1, 2):
        raise DataError(
            f"{name}: each array must be [steps] or [steps, columns], with the same columns. "
            f"Received shapes: {', '.join(map(str, shapes[:4]))}."
        )
    empty = next((k for k, shape in enumerate(shapes) if 0 in shape), None)
    if empty is not None:
        raise DataError(f"{name}: sequence {empty} is empty. Remove it.")
    return from_arrays(listed, columns=_columns(math.prod(shapes[0][1:])), source=name)


def _columns(width: int) -> tuple[str, ...]:
    return ("value",) if width == 1 else tuple(f"x{k}" for k in range(width))


def stacked(array: Array, name: str, lengths: Array | None = None) -> Sequences:
    """Sequences over an array [sequences, steps] or [sequences, steps, columns].

    Without `lengths`, the array is not copied.
    """
    if array.ndim not in (2, 3):
        raise DataError(
            f"{name} must be [sequences, steps] or [sequences, steps, columns]. "
            f"Received shape: {array.shape}."
        )
    if 0 in array.shape:
        raise DataError(f"{name} is empty: its shape is {array.shape}.")
    count, longest = array.shape[:2]
    values = array.reshape(count * longest, -1)
    starts = np.arange(count, dtype=np.int64) * longest
    stops = starts + (longest if lengths is None else lengths)
    if lengths is not None:
        values = values[(np.arange(longest) < lengths[:, None]).ravel()]
        stops = np.cumsum(lengths).astype(np.int64)
        starts = stops - lengths
    ids = np.arange(count).astype(str)
    return Sequences(values, starts, stops, starts, ids, _columns(values.shape[1]), source=name)


def is_missing(label: Any) -> bool:
    """True for None, NaN, NaT and NA, of which pandas compares the last one with nothing."""
    return label is None or type(label).__name__ in ("NAType", "NaTType") or label != label


def labelled(sequences: Sequences, labels: Any, name: str) -> Sequences:
    """The sequences with their labels; without them if `labels` is not one text or number each."""
    if labels is None:
        return sequences
    try:
        texts = np.asarray(labels)
    except ValueError:  # arrays of unequal lengths
        return sequences
    if texts.dtype.kind == "O":
        texts = np.array(["" if is_missing(label) else str(label) for label in texts.flat])
    if texts.ndim == 2 and texts.shape[1] == 1:
        texts = texts[:, 0]
    if texts.ndim != 1:
        return sequences
    if len(texts) != len(sequences):
        raise refused_labels(sequences, texts.shape, name)
    empty = np.isnan(texts) if texts.dtype.kind == "f" else np.zeros(len(texts), dtype=bool)
    names, codes = np.unique(np.where(empty, "", texts.astype(str)), return_inverse=True)
    return replace(sequences, labels=np.array([whole_label(label) for label in names])[codes])


def refused_labels(sequences: Sequences, shape: tuple[int, ...], name: str) -> DataError:
    """The error for labels that are not one for each sequence."""
    return DataError(
        f"{name}: there are {len(sequences)} sequences, but labels of shape {shape}. "
        "Give one label for each sequence (convert one-hot labels with y.argmax(axis=1))."
    )


TRAIN, TEST = "train", "test"  # the parts of data sets of Keras: x_train, y_train, x_test, y_test
PART = f".npz{MARK}"  # before the name of a part


def npz(path: Path) -> Arrays:
    """Read a NumPy archive with the array x, and optionally y and lengths.

    In an archive with x_train and x_test, as Keras keeps its data sets, these are the training and
    the test part; data.npz#test is the test part alone.

    Raises:
        DataError: the file is not an archive, has no x, or holds objects.
    """
    name = str(path)
    place, _, part = name.partition(PART)
    archive = _archive(Path(f"{place}.npz") if part else path, name)
    test = ""
    if part or ("x" not in archive and f"x_{TRAIN}" in archive):
        test = f"{name}{MARK}{TEST}" if not part and f"x_{TEST}" in archive else ""
        part = part or TRAIN
        found = {key.removesuffix(f"_{part}"): one for key, one in archive.items()}
        archive = {key: found[key] for key in ("x", "y", "lengths") if f"{key}_{part}" in archive}
    if "x" not in archive:
        names = ", ".join(archive) or "nothing"
        raise DataError(f"{name} must hold an array 'x' (and 'y' with labels). It holds: {names}.")
    x = _numeric(archive["x"], f"{name}: x")
    x = x[None] if x.ndim == 1 else x
    lengths = archive.get("lengths")
    if lengths is not None:
        lengths = _lengths(lengths, x, name)
    sequences = stacked(x, name, lengths)
    y = archive.get("y")
    return Arrays(name, "the file is .npz", labelled(sequences, y, name), test=test, truth=y)


def npy(path: Path) -> Arrays:
    """Read one array of NumPy, with the shapes of x in an archive.

    Raises:
        DataError: the file is not an array of numbers.
    """
    name = str(path)
    with reading(name), path.open("rb") as stream:
        try:
            with _accepting_old_headers():
                x = _numeric(np.load(stream, allow_pickle=False), name)
        except (ValueError, EOFError, MemoryError, OverflowError, *NO_ARRAY):
            raise DataError(
                f"{name} is not an .npy file of numbers, or it is damaged. Write it with np.save."
            ) from None
    return Arrays(name, "the file is .npy", stacked(x[None] if x.ndim == 1 else x, name))


@contextmanager
def _accepting_old_headers() -> Iterator[None]:
    """Read headers that Python 2 wrote (a length such as 10L) without NumPy's advice on them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, message="Reading `.npy`")
        yield


def _archive(path: Path, name: str) -> dict[str, Array]:
    with reading(name):
        try:
            # NumPy leaves a file open that it opened and cannot read.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise DataError(f"{name} holds one array, not an archive. Use np.savez(x=...).")
                with _accepting_old_headers():
                    return {key.lower(): archive[key] for key in archive.files}
        except NO_ARRAY:
            raise DataError(f"{name} is not an .npz archive, or it is damaged.") from None
        except (MemoryError, OverflowError):
            raise DataError(
                f"{name} announces more values than fit into memory. If the file is not that "
                "large, it is damaged: fetch it again."
            ) from None
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise DataError(f"{name} is not an .npz archive, or it is damaged.") from None
            raise DataError(
                f"{name} holds arrays of Python objects, which could run code when loaded. Pad the "
                "sequences to one length, and store their lengths in an array 'lengths'."
            ) from None


def _lengths(lengths: Array, x: Array, name: str) -> Array:
    whole = lengths.dtype.kind in "iu" and lengths.shape == x.shape[:1]
    if not whole or lengths.min(initial=1) < 1 or lengths.max(initial=1) > x.shape[1]:
        raise DataError(
            f"{name}: 'lengths' must hold a whole number from 1 to {x.shape[1]} for each of the "
            f"{len(x)} sequences."
        )
    return lengths.astype(np.int64)


def is_idx(name: str) -> bool:
    """True if a file name, without .gz, is the name of an IDX file."""
    return re.search(r"[.-]idx\d?$|idx\d-ubyte$", name) is not None


def idx(path: Path, labels: Path | None) -> Arrays:
    """Read IDX images, with labels if `labels` names their file.

    Each image is a sequence of its rows. Integers keep their type.

    Raises:
        DataError: a file is not an IDX file, is cut off, or has the wrong number of dimensions.
    """
    name = str(path)
    images = _idx(path)
    if images.ndim == 1:
        raise DataError(
            f"{name} holds one number for each sequence, so it is a file of labels. Name the file "
            "of images instead."
        )
    sequences = stacked(images, name)
    if sequences.values.dtype.kind == "f":
        sequences = stacked(images.astype(np.float64), name)
    known = None if labels is None else _idx(labels)
    return Arrays(name, "the file is IDX images", labelled(sequences, known, name), truth=known)


def _idx(path: Path) -> Array:
    name = str(path)
    with reading(name), File(path).opened() as file:
        return _idx_array(file, name)


def _idx_array(file: IO[bytes], name: str) -> Array:
    magic = file.read(4)
    if (
        len(magic) < 4
        or magic[:2] != b"\0\0"
        or magic[2] not in IDX_TYPES
        or not 0 < magic[3] < MAX_DIMENSIONS
    ):
        raise DataError(f"{name} is not an IDX file: it begins with {magic.hex() or 'nothing'}.")
    sizes = file.read(4 * magic[3])
    shape = tuple(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").tolist())
    if len(shape) < magic[3]:
        raise DataError(f"{name} is cut off in its header. Fetch it again.")
    kind = np.dtype(IDX_TYPES[magic[2]])
    size = math.prod(shape) * kind.itemsize
    # Read only what the file holds, because a damaged header can announce any size.
    content = file.read()
    if len(content) < size:
        raise DataError(
            f"{name} is cut off: it announces {'x'.join(map(str, shape))} values but holds "
            f"{len(content)} of {size} bytes. Fetch it again."
        )
    array = np.frombuffer(content, kind, count=math.prod(shape)).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def ts(path: Path) -> Arrays:
    """Read a .ts file, the format of the UEA and UCR archives; "?" is an empty cell.

    Raises:
        DataError: the file is not a .ts file, has time stamps, or a line is ragged.
    """
    name = str(path)
    with reading(name), File(path).opened() as file:
        content = file.read()
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise other_encoding(name) from None
    header, begin = _ts_header(lines, name)
    has_labels = any(
        header.get(key, "false").lower().split()[:1] == ["true"]
        for key in ("classlabel", "targetlabel")
    )
    listed, labels, numbers = [], [], []
    for number, line in enumerate(lines[begin:], start=begin + 1):
        if line.strip() and not line.startswith("#"):
            parts = line.strip().split(":")
            labels.append(parts.pop().strip() if has_labels and len(parts) > 1 else "")
            listed.append(_ts_case(parts, f"{name}: line {number}"))
            numbers.append(number)
            _check_dimensions(listed, header, f"{name}: line {number}")
    if not listed:
        raise DataError(f"{name} holds no sequences below @data.")
    sequences = joined(listed, name)
    known = ["" if label == "?" else label for label in labels] if has_labels else None
    found = labelled(sequences, known, name)
    return Arrays(name, "the file is .ts", found, np.array(numbers), known)


def _ts_header(lines: list[str], name: str) -> tuple[dict[str, str], int]:
    header: dict[str, str] = {}
    begin = 0
    for line in lines:
        begin += 1
        key, _, value = line.strip().partition(" ")
        if key.lower() == "@data":
            break
        if key.startswith("@"):
            header[key[1:].lower()] = value.strip()
    else:
        raise DataError(f"{name} has no line @data. In a .ts file it precedes the sequences.")
    if header.get("timestamps", "false").lower() == "true":
        raise DataError(
            f"{name} has time stamps (@timeStamps true), which are not supported. Write its values "
            "without them, or as a CSV table with a column of times."
        )
    return header, begin


def _ts_case(parts: list[str], where: str) -> Array:
    """One sequence, [steps, columns]."""
    lengths = [part.count(",") + 1 for part in parts]
    for dimension, length in enumerate(lengths):
        if length != lengths[0]:
            raise DataError(
                f"{where} is ragged: its dimension {dimension + 1} has {length} values, but its "
                f"first dimension has {lengths[0]}."
            )
    cells = [[cell.strip() for cell in part.split(",")] for part in parts]
    try:
        rows = [[math.nan if cell == "?" else float(cell) for cell in column] for column in cells]
    except ValueError as error:
        raise DataError(
            f"{where} holds a value that is not a number ({str(error).partition(': ')[2]})."
        ) from None
    return np.array(rows).T


def _check_dimensions(listed: list[Array], header: dict[str, str], where: str) -> None:
    declared = header.get("dimensions", "") or header.get("dimension", "")
    expected = int(declared) if declared.isdigit() else listed[0].shape[1]
    if listed[-1].shape[1] != expected:
        raise DataError(
            f"{where} has {listed[-1].shape[1]} dimensions, but "
            f"{'@dimensions says' if declared.isdigit() else 'the first line has'} {expected}."
        )

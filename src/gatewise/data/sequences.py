"""The container of all data: sequences of different lengths, stored end to end.

The parts of the data (train, validation, test) share the arrays and have different bounds. So
splitting copies nothing, and windows are cut only when a batch needs them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Kind = Literal["numbers", "text", "tokens", "sound"]


@dataclass(frozen=True)
class Sequences:
    """Sequences of steps, with their ids, times, labels and other metadata.

    Sequence `k` is `values[starts[k]:stops[k]]`. If it is a part of a longer sequence, the longer
    sequence begins at `first[k]`: a forecast from the first step of a test part may look back that
    far.
    """

    values: Array  # [all steps, columns], a float or an integer type
    starts: Array  # [sequences] int64
    stops: Array  # [sequences] int64
    first: Array  # [sequences] int64, <= starts
    ids: Array  # [sequences] str
    columns: tuple[str, ...]  # names of the columns of `values`
    # [all steps] datetime64[us], int64 or float64, ascending in each sequence
    times: Array | None = None
    zone: str = ""  # the time zone in which UTC `times` are shown; "": they are local already
    # The interval between two times, as Polars writes it ("30m", "1h", "1d", "1mo", "300i"), or a
    # bare number ("0.02") if times are fractional numbers; "": unknown.
    step: str = ""
    # Column of texts -> its distinct texts. `values` then holds positions in that tuple, or NaN
    # for empty cells.
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # [all steps, columns] bool: cells that `data.missing` filled in; None if there are none.
    filled: Array | None = None
    static: Mapping[str, Array] = field(default_factory=dict)  # name -> [sequences] float64 or str
    labels: Array | None = None  # [sequences] str, "" if unknown
    marks: Array | None = None  # [all steps] float64: 1 for an anomaly, 0 for none, NaN if unknown
    groups: Array | None = None  # [sequences] str
    source: str = "the data"  # for messages: a file name, or "the array"
    # The kind of a step: a row of numbers; a byte of UTF-8 text; a token and its tags, each a
    # position in `levels`; or an int16 sample of a recording with `rate` samples per second.
    kind: Kind = "numbers"
    rate: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, k: int) -> Array:
        return self.values[self.starts[k] : self.stops[k]]  # [steps, columns]

    def __iter__(self) -> Iterator[Array]:
        return (self[k] for k in range(len(self)))

    @property
    def lengths(self) -> Array:
        """The number of steps of each sequence, [sequences]."""
        return self.stops - self.starts

    def measured(self, steps: Array, columns: Array | int) -> Array:
        """These cells as float64; filled-in cells are NaN, so that they are not scored."""
        cells: Array = self.values[steps, columns].astype(np.float64)
        return (
            cells if self.filled is None else np.where(self.filled[steps, columns], np.nan, cells)
        )

    def chosen(self, indices: Array) -> "Sequences":
        """The sequences at these indices, in this order, over the same values."""
        return replace(
            self,
            starts=self.starts[indices],
            stops=self.stops[indices],
            first=self.first[indices],
            ids=self.ids[indices],
            static={name: column[indices] for name, column in self.static.items()},
            labels=None if self.labels is None else self.labels[indices],
            groups=None if self.groups is None else self.groups[indices],
        )

    def between(self, starts: Array, stops: Array) -> "Sequences":
        """The same sequences with other bounds; `first` is kept, so that windows can look back."""
        return replace(self, starts=starts, stops=stops)


def fingerprint(steps: Array) -> str:
    """A content hash, to recognise the same steps in another file.

    >>> fingerprint(np.zeros((3, 1))) == fingerprint(np.zeros((4, 1)))
    False
    """
    return hashlib.blake2b(np.ascontiguousarray(steps).data, digest_size=8).hexdigest()


def comparable(sequences: Sequences) -> Sequences:
    """The sequences for `fingerprint`: tokens become hashes of their texts, not positions."""
    if sequences.kind != "tokens":
        return sequences
    hashes = [
        int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), 16)
        for text in sequences.levels[sequences.columns[0]]
    ]
    table = np.array(hashes, dtype=np.uint64)
    return replace(sequences, values=table[sequences.values[:, :1]])


def from_arrays(
    arrays: list[Array], *, columns: tuple[str, ...] = (), ids: Array | None = None, **known: Any
) -> Sequences:
    """Make sequences from a list of arrays [steps] or [steps, columns] of any lengths.

    >>> from_arrays([np.zeros(3), np.ones(5)]).lengths
    array([3, 5])
    """
    tables = [array[:, None] if array.ndim == 1 else array for array in map(np.asarray, arrays)]
    stops = np.cumsum([len(table) for table in tables], dtype=np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    values = np.concatenate(tables)
    return Sequences(
        values=values,
        starts=starts,
        stops=stops,
        first=starts,
        ids=np.arange(len(tables)).astype(str) if ids is None else ids,
        columns=columns or tuple(f"x{number}" for number in range(values.shape[1])),
        **known,
    )


def from_texts(texts: Sequence[str], *, ids: Array | None = None, **known: Any) -> Sequences:
    """Make sequences from texts.

    >>> texts_of(from_texts(["ça va", ""]))
    ['ça va', '']
    """
    encoded = [text.encode("utf-8", "replace") for text in texts]
    stops = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    return Sequences(
        values=np.frombuffer(b"".join(encoded), np.uint8)[:, None],
        starts=starts,
        stops=stops,
        first=starts,
        ids=np.arange(len(texts)).astype(str) if ids is None else ids,
        columns=("text",),
        kind="text",
        **known,
    )


def text_of(sequences: Sequences, k: int) -> str:
    """The text of sequence `k`."""
    return sequences[k].tobytes().decode("utf-8", "replace")


def texts_of(sequences: Sequences) -> list[str]:
    """The texts of all sequences."""
    return [text_of(sequences, k) for k in range(len(sequences))]

"""Recordings that arrive in parts: samples, of which frames are made, of which steps are made."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.data import spectra
from gatewise.data.sequences import Array, Sequences, from_arrays
from gatewise.data.spectra import FULL, Spectrum
from gatewise.errors import DataError
from gatewise.runtime.convolving import Front
from gatewise.settings import DataSettings
from gatewise.streaming.memory import Memory, identity, is_table, records
from gatewise.streaming.plan import Plan, Row

SAMPLES, RATE = "samples", "rate"  # the columns of a row
# How other files of recordings begin.
PACKED = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b".snd": "AU"}
UNKNOWN = 0xFFFFFFFF  # the size of samples in a WAV file that is still being written
MOST = 10_000_000  # samples of one part, about ten minutes at 16,000 Hz


class SoundReader:
    """Reads samples as the run reads whole recordings.

    A step is a frame or, with a `front`, what its convolutions make of some frames.
    """

    def __init__(self, plan: Plan, settings: DataSettings, front: Front | None = None) -> None:
        self.plan, self.settings, self.front = plan, settings, front
        self.columns = (SAMPLES,)
        self.spectrum: Spectrum = plan.preparation.own.spectrum

    def rows_of(self, steps: Any) -> Iterator[Any]:
        """The parts of what a user pushes: samples, or rows with samples."""
        if is_table(steps) and not isinstance(steps, np.ndarray):
            yield from records(steps)
        elif isinstance(steps, Sequence) and steps and isinstance(steps[0], Mapping):
            yield from steps
        else:
            yield steps

    def read(self, given: Any, memory: Memory) -> list[Row]:
        """The steps that further samples complete; `memory` is updated.

        Raises:
            DataError: these are not samples, or they have another rate.
        """
        name = identity(given, memory, self.settings)
        if isinstance(given, Mapping):
            given = self._of_row(given)
        samples = as_samples(given)
        memory.id = name
        if memory.samples is not None:
            samples = np.concatenate([memory.samples, samples])
        return self._rows(samples, memory)

    def rest(self, memory: Memory) -> list[Row]:
        """The steps that only the end of the recording completes; `memory` is updated."""
        rows: list[Row] = []
        samples = memory.samples
        if not memory.count and samples is not None and len(samples):
            # A recording shorter than a frame is padded with zeros.
            short = self.spectrum.frame_length - len(samples)
            rows += self._rows(np.pad(samples, (0, max(0, short))), memory)
        if self.front is not None and memory.frames is not None:
            rows += self._reduced(self.front, memory, ended=True)
        return rows

    def _of_row(self, given: Mapping[str, Any]) -> Any:
        if SAMPLES not in given:
            held = ", ".join(map(repr, list(given)[:12])) or "nothing"
            raise DataError(f"The row has no column '{SAMPLES}'. It has {held}.")
        rate = given.get(RATE, self.spectrum.rate)
        if rate != self.spectrum.rate:
            raise DataError(
                f"The samples have a rate of {rate} Hz, but the run reads {self.spectrum.rate} Hz. "
                "Resample them."
            )
        return given[SAMPLES]

    def _rows(self, samples: Array, memory: Memory) -> list[Row]:
        """The steps of the frames that are complete; the other samples are kept."""
        spectrum = self.spectrum
        count = max(0, len(samples) - spectrum.frame_length + spectrum.hop_length)
        count //= spectrum.hop_length
        memory.samples = samples[count * spectrum.hop_length :].copy()
        memory.count += count
        if not count:
            return []
        used = (count - 1) * spectrum.hop_length + spectrum.frame_length
        energies = spectra.frames(samples[:used], spectrum)
        if self.front is None:
            return [Row(frame) for frame in energies]
        scaled = self._scaled(energies)
        if memory.frames is not None:
            scaled = np.concatenate([memory.frames, scaled])
        memory.frames = scaled
        return self._reduced(self.front, memory, ended=False)

    def _reduced(self, front: Front, memory: Memory, *, ended: bool) -> list[Row]:
        """The new steps that the convolutions make; frames that no later step reads are dropped."""
        assert memory.frames is not None
        ready = front.ready(memory.count, ended=ended)
        done = memory.steps
        if ready <= done:
            return []
        first = memory.begin // front.stride
        steps = front.network(memory.frames[None])[0, done - first : ready - first]
        memory.steps = ready
        begin = max(memory.begin, (ready - front.reach) * front.stride)
        memory.frames = memory.frames[begin - memory.begin :].copy()
        memory.begin = begin
        return [Row(step) for step in steps]

    def _scaled(self, energies: Array) -> Array:
        scale = self.plan.preparation.scale
        scaled: Array = (energies - scale.centre.astype(np.float32)) / scale.spread.astype(
            np.float32
        )
        return scaled

    def sequences(self, several: Sequence[tuple[Memory, Sequence[Row]]]) -> Sequences:
        """The frames of several streams."""
        arrays = [np.array([row.values for row in rows], np.float32) for _, rows in several]
        columns = self.spectrum.columns if self.front is None else ()
        ids = np.array([memory.id for memory, _ in several])
        return from_arrays(arrays, columns=columns, ids=ids, source="The stream")

    def inputs(self, rows: Sequence[Row]) -> dict[str, Array]:
        """What the network reads of each step, [steps, bands] or [steps, filters]."""
        values = np.array([row.values for row in rows], np.float32)
        return {"steps": values if self.front is not None else self._scaled(values)}


def as_samples(given: Any) -> Array:
    """Samples as int16 [samples]: of integers of 16 bits, of floats from -1 to 1, or of raw bytes.

    Raises:
        DataError: they are none of these.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        if len(given) % 2:
            raise DataError(
                "Samples of 16 bits take two bytes each, but the number of bytes is odd. Send "
                "whole samples."
            )
        return np.frombuffer(given, "<i2")
    try:
        samples = np.asarray(given)
    except ValueError:
        samples = np.empty(0, dtype=object)
    if samples.ndim == 2 and samples.shape[1] == 1:
        samples = samples[:, 0]
    if samples.size == 0 and samples.ndim == 1 and samples.dtype != object:
        return np.empty(0, np.int16)
    if samples.ndim != 1 or samples.dtype.kind not in "iuf" or len(samples) > MOST:
        raise DataError(
            f"Samples are an array [samples] of one channel, with at most {MOST:,} at a time. "
            f"Received: {type(given).__name__} of the shape {list(samples.shape)}."
        )
    floats = samples.dtype.kind == "f"
    least, most = (-1.0, 1.0) if floats else (-FULL, FULL - 1)
    if not ((samples >= least) & (samples <= most)).all():
        raise DataError(
            "Samples are integers of 16 bits, or floats from -1 to 1. Received: from "
            f"{samples.min()} to {samples.max()}."
        )
    if floats:
        samples = np.clip(np.rint(samples * FULL), -FULL, FULL - 1)
    return samples.astype(np.int16)


def place_of(content: bytes, rate: int, *, ended: bool) -> tuple[int, float] | None:
    """The bytes before the samples and the bytes of the samples, maybe without end.

    The content begins a WAV file, whose samples need not be its last part, or is raw samples. None:
    more bytes are needed, which there are until the content has `ended`.

    Raises:
        DataError: the file does not hold samples of 16 bits of one channel at the rate.
    """
    if len(content) < 4:
        return (0, math.inf) if ended else None
    for begin, packed in PACKED.items():
        if content.startswith(begin):
            raise DataError(f"This is {packed}, but a stream reads raw samples. {_converted(rate)}")
    if not content.startswith(b"RIFF"):
        return 0, math.inf
    at, told = 12, None
    while len(content) >= at + 8:
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name == b"data":
            if told != (1, 1, rate, 16):
                raise DataError(
                    f"The WAV file must hold samples of 16 bits of one channel at {rate:,} Hz. "
                    f"{_converted(rate)}"
                )
            # A program that writes into a pipe does not know the size.
            return at + 8, math.inf if size in (0, UNKNOWN) else size - size % 2
        if name == b"fmt " and len(content) >= at + 24:
            kind, channels, found = struct.unpack_from("<HHI", content, at + 8)
            told = (kind, channels, found, *struct.unpack_from("<H", content, at + 22))
        at += 8 + size + size % 2
    if ended:
        raise DataError(f"The WAV file ends before its samples. {_converted(rate)}")
    return None


def _converted(rate: int) -> str:
    return f"Convert it: ffmpeg -i FILE -f s16le -ac 1 -ar {rate} - | gatewise stream RUN."

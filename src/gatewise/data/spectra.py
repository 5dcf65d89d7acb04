"""Recordings -> frames of log-mel energies, and the augmentation of recordings in training.

A frame follows Davis & Mermelstein 1980: the power spectrum of a short stretch of sound, summed
over triangular bands that are evenly spaced on the mel scale, and then its logarithm.
"""

import functools
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from gatewise.data.bounds import RATE, SOME_STEPS
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError
from gatewise.extras import require
from gatewise.settings import PreparationSettings, TrainingSettings

FULL = 32_768  # full scale of int16 samples
LOWEST_RATE = 1000  # samples per second
MELS_APART = 20  # Hz of the rate for each band; with more bands, some would be empty
LOWEST = 20.0  # Hz, the lower limit of hearing
SILENCE = 1e-6  # added energy, so that silence has a logarithm: about three steps of int16
FRAMES_AT_ONCE = 4096  # bounds the memory of long recordings
MASKS = 2  # masks per recording, in frequency and in time (Park et al. 2019: LibriSpeech)


@dataclass(frozen=True)
class Spectrum:
    """The settings of the transform from samples to frames."""

    rate: Annotated[int, RATE]  # samples per second
    n_mels: Annotated[int, SOME_STEPS]  # number of mel bands
    frame_length: Annotated[int, SOME_STEPS]  # samples in a frame
    hop_length: Annotated[int, SOME_STEPS]  # samples from one frame to the next

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the bands, from low to high."""
        return tuple(f"mel_{number}" for number in range(1, self.n_mels + 1))

    def count(self, samples: Array | int) -> Array:
        """The frames of recordings with that many samples; at least one, padded with zeros."""
        more: Array = np.maximum(0, np.asarray(samples) - self.frame_length) // self.hop_length
        return more + 1


def spectrum_of(settings: PreparationSettings, rate: int) -> Spectrum:
    """The spectrum of the settings, with frames and hops in whole samples.

    Raises:
        ConfigError: a hop is longer than its frame, so the sound between frames is lost; or
            the rate is too low; or there are too many bands.
    """
    if settings.hop_length > settings.frame_length:
        raise ConfigError(
            f"preparation.hop_length is {settings.hop_length:g} ms and preparation.frame_length "
            f"{settings.frame_length:g} ms: the sound between two frames would be lost. Take a hop "
            "no longer than the frame."
        )
    if rate < LOWEST_RATE:
        raise ConfigError(
            f"The recordings have a rate of {rate:,} samples per second, but the least is "
            f"{LOWEST_RATE:,}. data.sample_rate is in Hz: 16000, not 16."
        )
    if settings.n_mels > rate // MELS_APART:
        raise ConfigError(
            f"preparation.n_mels is {settings.n_mels}, but recordings of {rate:,} Hz have room for "
            f"{rate // MELS_APART} at most. Take fewer; 40 to 80 are usual."
        )
    frame, hop = (
        max(1, round(rate * ms / 1000)) for ms in (settings.frame_length, settings.hop_length)
    )
    return Spectrum(rate, settings.n_mels, max(2, frame), hop)


@functools.lru_cache(maxsize=8)
def filters(spectrum: Spectrum) -> Array:
    """The weight of each frequency of the Fourier transform in each band, [frequencies, mels].

    The length of the transform is the next power of two, or longer if otherwise a band would lie
    between two frequencies and be empty.
    """
    size = 1 << (spectrum.frame_length - 1).bit_length()
    top = spectrum.rate / 2
    edges = _hertz(np.linspace(_mel(LOWEST), _mel(top), spectrum.n_mels + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    while True:
        frequencies = np.fft.rfftfreq(size, 1 / spectrum.rate)[:, None]
        rising = (frequencies - low) / (middle - low)
        falling = (high - frequencies) / (high - middle)
        weights: Array = np.maximum(0.0, np.minimum(rising, falling))
        if (weights.sum(axis=0) > 0).all():
            return weights.astype(np.float32)
        size *= 2


def _mel(hertz: float) -> float:
    """O'Shaughnessy's mel scale, as in HTK."""
    return 2595 * float(np.log10(1 + hertz / 700))


def _hertz(mel: Array) -> Array:
    hertz: Array = 700 * (10 ** (mel / 2595) - 1)
    return hertz


def frames(samples: Array, spectrum: Spectrum) -> Array:
    """Log-mel energies of int16 samples [samples], [frames, mels] float32.

    >>> spectrum = Spectrum(8000, n_mels=20, frame_length=200, hop_length=80)
    >>> frames(np.zeros(400, np.int16), spectrum).shape
    (3, 20)
    """
    from scipy.signal import get_window

    count = int(spectrum.count(len(samples)))
    short = (count - 1) * spectrum.hop_length + spectrum.frame_length - len(samples)
    if short > 0:
        samples = np.pad(samples, (0, short))
    cut = np.lib.stride_tricks.sliding_window_view(samples, spectrum.frame_length)[
        :: spectrum.hop_length
    ]
    window = (get_window("hann", spectrum.frame_length) / FULL).astype(np.float32)
    weights = filters(spectrum)
    size = 2 * (len(weights) - 1)
    energies = np.empty((count, spectrum.n_mels), dtype=np.float32)
    for begin in range(0, count, FRAMES_AT_ONCE):
        block = slice(begin, min(begin + FRAMES_AT_ONCE, count))
        waves = np.fft.rfft(cut[block] * window, size)  # [frames, frequencies]
        power = np.square(waves.real) + np.square(waves.imag)
        energies[block] = np.log(power.astype(np.float32) @ weights + SILENCE)
    return energies


def framed(recordings: Sequences, spectrum: Spectrum) -> Sequences:
    """The frames of each recording, as sequences of numbers with a column for each band."""
    stops = np.cumsum(spectrum.count(recordings.lengths), dtype=np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    values = np.empty((int(stops[-1]), spectrum.n_mels), dtype=np.float32)
    for k, samples in enumerate(recordings):
        values[starts[k] : stops[k]] = frames(samples[:, 0], spectrum)
    return replace(
        recordings,
        values=values,
        starts=starts,
        stops=stops,
        first=starts,
        columns=spectrum.columns,
        kind="numbers",
        rate=0,
    )


def heard(pieces: Sequences, recordings: Sequences, spectrum: Spectrum) -> Sequences:
    """The stretches of the recordings behind these pieces of their frames."""
    _, indices = np.unique(pieces.first, return_inverse=True)  # `framed` keeps the order
    begins = recordings.starts[indices] + (pieces.starts - pieces.first) * spectrum.hop_length
    ends = begins + (pieces.lengths - 1) * spectrum.hop_length + spectrum.frame_length
    return replace(
        recordings.chosen(indices),
        starts=begins,
        stops=np.minimum(ends, recordings.stops[indices]),
        first=begins,
        ids=pieces.ids,
    )


# Augmentation in training


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of recordings in training, drawn again in every epoch."""

    noise: float  # white noise, at most this share of the recording's own loudness
    speed_perturbation: float  # largest relative change of the duration
    freq_mask: int  # largest number of adjacent bands to mask
    time_mask: int  # largest number of consecutive frames to mask

    def __bool__(self) -> bool:
        return bool(self.noise or self.speed_perturbation or self.freq_mask or self.time_mask)

    def longest(self, samples: Array, spectrum: Spectrum) -> Array:
        """The largest number of frames that recordings of that many samples may get."""
        return spectrum.count(np.ceil(samples * (1 + self.speed_perturbation)).astype(np.int64) + 1)


def augmentation_of(settings: TrainingSettings) -> Augmentation:
    """The augmentation of the settings."""
    return Augmentation(
        settings.noise, settings.speed_perturbation, settings.freq_mask, settings.time_mask
    )


def augment(
    samples: Array, augmentation: Augmentation, random: np.random.Generator, *, least: int = 0
) -> Array:
    """Change the speed of int16 samples [n] and add noise; keep at least `least` samples.

    The speed also shifts the pitch, as on a tape (Ko et al. 2015).
    """
    result = samples.astype(np.float32)
    if augmentation.speed_perturbation:
        longer = random.uniform(
            1 - augmentation.speed_perturbation, 1 + augmentation.speed_perturbation
        )
        longer = max(longer, least / max(1, len(samples)))
        if len(samples) > 1:
            soxr = require("soxr", "sound", "Changing the speed of recordings")
            result = soxr.resample(result, 1.0, longer, quality="LQ")
    if augmentation.noise:
        loudness = float(np.sqrt(np.mean(np.square(result)))) if len(result) else 0.0
        level = random.uniform(0, augmentation.noise) * loudness
        result = result + level * random.standard_normal(len(result)).astype(np.float32)
    clipped: Array = np.clip(np.rint(result), -FULL, FULL - 1).astype(np.int16)
    return clipped


def mask(steps: Array, augmentation: Augmentation, random: np.random.Generator) -> None:
    """Mask bands and stretches of scaled frames [frames, mels] in place (SpecAugment).

    Park et al. 2019: widths are uniform from 0, and masked values become the mean, 0. A mask covers
    at most a fifth of the frames, so that a short word stays audible.
    """
    count, mels = steps.shape
    for _ in range(MASKS):
        width = int(random.integers(0, min(augmentation.freq_mask, mels) + 1))
        begin = int(random.integers(0, mels - width + 1))
        steps[:, begin : begin + width] = 0
        width = int(random.integers(0, min(augmentation.time_mask, count // 5) + 1))
        begin = int(random.integers(0, count - width + 1))
        steps[begin : begin + width] = 0

"""Recordings -> frames of log-mel energies, and the changes that recordings undergo in training.

What a frame says follows Davis & Mermelstein 1980: the power spectrum of a short stretch of sound,
summed in triangular bands that are evenly spaced on the mel scale, and the logarithm of that.
"""

import functools
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.signal import get_window

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError
from gatewise.extras import needed
from gatewise.settings import PreparationSettings, TrainingSettings

FULL = 32_768  # the int16 that stands for the loudest sample
LOWEST_RATE = 1000  # samples a second
MELS_APART = 20  # Hz of the rate for each band: of more bands, some would hear nothing
LOWEST = 20.0  # Hz, below which there is nothing to hear
SILENCE = 1e-6  # energy that is added, so that silence has a logarithm: some three steps of int16
FRAMES_AT_ONCE = 4096  # bounds the memory of long recordings
WAYS = 2  # how often a recording is masked, in pitch and in time (Park et al. 2019: LibriSpeech)


@dataclass(frozen=True)
class Spectrum:
    """How frames are made of samples."""

    rate: int  # samples a second
    n_mels: int  # bands
    frame_length: int  # samples that a frame hears
    hop_length: int  # samples from one frame to the next

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the bands, the lowest first."""
        return tuple(f"mel_{number}" for number in range(1, self.n_mels + 1))

    def count(self, samples: Array | int) -> Array:
        """Frames of recordings of so many samples; at least one, the missing samples being 0."""
        more: Array = np.maximum(0, np.asarray(samples) - self.frame_length) // self.hop_length
        return more + 1

    def to_json(self) -> dict[str, int]:
        """Plain numbers, `Spectrum(**...)` of which gives it back."""
        return asdict(self)


def spectrum_of(settings: PreparationSettings, rate: int) -> Spectrum:
    """Frames and hops in whole samples.

    Raises:
        ConfigError: a hop is longer than its frame, so that sound between frames went unheard.
    """
    if settings.hop_length > settings.frame_length:
        raise ConfigError(
            f"preparation.hop_length is {settings.hop_length:g} ms and preparation.frame_length "
            f"{settings.frame_length:g} ms: the sound between two frames would be lost. Take a hop "
            "no longer than the frame."
        )
    if rate < LOWEST_RATE:
        raise ConfigError(
            f"The recordings have a rate of {rate:,} samples a second, and {LOWEST_RATE:,} are the "
            "least. data.sample_rate is in Hz: 16000, not 16."
        )
    if settings.n_mels > rate // MELS_APART:
        raise ConfigError(
            f"preparation.n_mels is {settings.n_mels}, and recordings of {rate:,} Hz have room for "
            f"{rate // MELS_APART} at most. Take fewer; 40 to 80 are usual."
        )
    frame, hop = (
        max(1, round(rate * ms / 1000)) for ms in (settings.frame_length, settings.hop_length)
    )
    return Spectrum(rate, settings.n_mels, max(2, frame), hop)


@functools.lru_cache(maxsize=8)
def filters(spectrum: Spectrum) -> Array:
    """What each band takes of each frequency of the Fourier transform, [frequencies, mels].

    The transform is as long as the next power of two, and longer where a band would else lie
    between two frequencies and take nothing.
    """
    size = 1 << (spectrum.frame_length - 1).bit_length()
    top = spectrum.rate / 2
    edges = _hertz(np.linspace(_mel(LOWEST), _mel(top), spectrum.n_mels + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    while True:
        heard = np.fft.rfftfreq(size, 1 / spectrum.rate)[:, None]
        rising = (heard - low) / (middle - low)
        falling = (high - heard) / (high - middle)
        weights: Array = np.maximum(0.0, np.minimum(rising, falling))
        if (weights.sum(axis=0) > 0).all():
            return weights.astype(np.float32)
        size *= 2


def _mel(hertz: float) -> float:
    """O'Shaughnessy's mel, as HTK has it."""
    return 2595 * float(np.log10(1 + hertz / 700))


def _hertz(mel: Array) -> Array:
    found: Array = 700 * (10 ** (mel / 2595) - 1)
    return found


def frames(samples: Array, spectrum: Spectrum) -> Array:
    """Log-mel energies of int16 samples [samples], [frames, mels] float32.

    >>> spectrum = Spectrum(8000, n_mels=20, frame_length=200, hop_length=80)
    >>> frames(np.zeros(400, np.int16), spectrum).shape
    (3, 20)
    """
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
    found = np.empty((count, spectrum.n_mels), dtype=np.float32)
    for begin in range(0, count, FRAMES_AT_ONCE):
        some = slice(begin, min(begin + FRAMES_AT_ONCE, count))
        waves = np.fft.rfft(cut[some] * window, size)  # [frames, frequencies]
        power = np.square(waves.real) + np.square(waves.imag)
        found[some] = np.log(power.astype(np.float32) @ weights + SILENCE)
    return found


def framed(recordings: Sequences, spectrum: Spectrum) -> Sequences:
    """The frames of each recording, as a sequence of numbers with a column for each band."""
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
    """The stretches of the recordings that these pieces of their frames were made of."""
    _, which = np.unique(pieces.first, return_inverse=True)  # `framed` keeps the order
    begins = recordings.starts[which] + (pieces.starts - pieces.first) * spectrum.hop_length
    ends = begins + (pieces.lengths - 1) * spectrum.hop_length + spectrum.frame_length
    return replace(
        recordings.chosen(which),
        starts=begins,
        stops=np.minimum(ends, recordings.stops[which]),
        first=begins,
        ids=pieces.ids,
    )


# Changes in training


@dataclass(frozen=True)
class Changes:
    """How recordings are changed while a network learns from them, anew in every epoch."""

    noise: float  # white noise of up to so much of the recording's own loudness
    speed_perturbation: float  # the duration grows or shrinks by up to this share
    freq_mask: int  # bands side by side that are blanked, at most
    time_mask: int  # frames in a row that are blanked, at most

    def __bool__(self) -> bool:
        return bool(self.noise or self.speed_perturbation or self.freq_mask or self.time_mask)

    def longest(self, samples: Array, spectrum: Spectrum) -> Array:
        """Frames that recordings of so many samples may come to have, at most."""
        return spectrum.count(np.ceil(samples * (1 + self.speed_perturbation)).astype(np.int64) + 1)


def changes_of(settings: TrainingSettings) -> Changes:
    """What the settings ask for."""
    return Changes(
        settings.noise, settings.speed_perturbation, settings.freq_mask, settings.time_mask
    )


def changed(
    samples: Array, changes: Changes, random: np.random.Generator, *, least: int = 0
) -> Array:
    """Samples [n] int16 at another speed and with noise; never fewer than `least`.

    Speed moves the pitch as well, as on a tape (Ko et al. 2015).
    """
    found = samples.astype(np.float32)
    if changes.speed_perturbation:
        longer = random.uniform(1 - changes.speed_perturbation, 1 + changes.speed_perturbation)
        longer = max(longer, least / max(1, len(samples)))
        if len(samples) > 1:
            soxr = needed("soxr", "sound", "Changing the speed of recordings")
            found = soxr.resample(found, 1.0, longer, quality="LQ")
    if changes.noise:
        loudness = float(np.sqrt(np.mean(np.square(found)))) if len(found) else 0.0
        level = random.uniform(0, changes.noise) * loudness
        found = found + level * random.standard_normal(len(found)).astype(np.float32)
    kept: Array = np.clip(np.rint(found), -FULL, FULL - 1).astype(np.int16)
    return kept


def mask(steps: Array, changes: Changes, random: np.random.Generator) -> None:
    """Blank bands and stretches of scaled frames [frames, mels] in place (SpecAugment).

    Park et al. 2019: widths are uniform from 0, and what is blanked becomes the mean, 0. No more
    than a fifth of the frames go at once, so that a short word stays one.
    """
    count, mels = steps.shape
    for _ in range(WAYS):
        width = int(random.integers(0, min(changes.freq_mask, mels) + 1))
        begin = int(random.integers(0, mels - width + 1))
        steps[:, begin : begin + width] = 0
        width = int(random.integers(0, min(changes.time_mask, count // 5) + 1))
        begin = int(random.integers(0, count - width + 1))
        steps[begin : begin + width] = 0

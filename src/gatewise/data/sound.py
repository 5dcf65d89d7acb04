"""The code that tasks on recordings share: fitted frames, batches, and sound for the report."""

import base64
import io
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.data import spectra
from gatewise.data.batches import PADDING, Examples, gather
from gatewise.data.scaling import Scale, fit_scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.spectra import Augmentation, Spectrum
from gatewise.data.windows import cut
from gatewise.settings import Experiment, TrainingSettings, names

MAX_SOUND = 120_000  # bytes of a recording that the report can play: 7 s at 8,000 Hz
MAX_FRAMES = 200  # a longer recording is drawn with every second frame, every third, and so on
# The settings of every task on recordings.
SETTINGS = names(
    data="sound pattern sample_rate group",
    preparation="scale scale_by n_mels frame_length hop_length",
    training="noise speed_perturbation freq_mask time_mask max_tokens",
)
Inputs = Callable[[Array, int], dict[str, Array]]


@dataclass(frozen=True)
class Recordings:
    """Recordings as frames, and the sound that each of them is made of."""

    frames: Sequences
    played: Sequences  # the stretch of a recording behind each sequence of frames


def resolved(experiment: Experiment, recordings: Sequences) -> Experiment:
    """The settings with the default batch size and epochs for the number of recordings."""
    training, task = experiment.training, experiment.task
    spectrum = spectra.spectrum_of(experiment.preparation, recordings.rate)
    frames = spectrum.count(recordings.lengths)
    count = len(recordings)
    if task.window:
        stride = task.stride or task.window
        count = int(np.maximum(1, (frames - task.window) // stride + 1).sum())
    if not training.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 40 + 1)), 8, 64))
        training = replace(training, batch_size=size)
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(60_000 // (count + 1), 15, 100)))
    return replace(experiment, training=training)


def fit_frames(train: Sequences, experiment: Experiment) -> tuple[Spectrum, Sequences, Scale]:
    """Fit the spectrum, the frames of the training part, and their scale.

    With preparation.scale_by = series, every recording has its own mean and deviation, including
    new ones, so that the recording equipment matters less.
    """
    settings = experiment.preparation
    spectrum = spectra.spectrum_of(settings, train.rate)
    frames = spectra.framed(train, spectrum)
    kind = "standard" if settings.scale == "auto" else settings.scale
    by = "column" if settings.scale_by == "auto" else settings.scale_by
    if by == "series":
        # No ids are stored, so new recordings are scaled in the same way as those of training.
        nothing = np.zeros((1, spectrum.n_mels))
        return spectrum, frames, Scale(kind, by, (), nothing, nothing + 1)
    return spectrum, frames, fit_scale(frames, kind, by)


def examples(
    recordings: Sequences,
    spectrum: Spectrum,
    *,
    scale: Scale,
    training: TrainingSettings,
    role: str,
    window: int = 0,
    stride: int = 0,
) -> Examples[Recordings]:
    """The frames of recordings, or windows of them, scaled and padded; without targets.

    In training, recordings are augmented as the settings ask, in a new way each time.
    """
    pieces = spectra.framed(recordings, spectrum)
    if window:
        pieces = cut(pieces, window, stride)
    played = spectra.heard(pieces, recordings, spectrum)
    augmentation = spectra.augmentation_of(training)
    random = np.random.default_rng((training.seed, 2))  # independent of the order of batches
    if role == "train" and augmentation:
        lengths = augmentation.longest(played.lengths, spectrum)
        inputs = _augmented_frames(played, spectrum, scale, augmentation, random)
    else:
        lengths, inputs = pieces.lengths, _fixed_frames(pieces, scale)
    return Examples(Recordings(pieces, played), lengths, inputs, _no_targets, random=random)


def of_frames(frames: Sequences, scale: Scale) -> Examples[Recordings]:
    """Frames that were made before, scaled and padded; what is heard of them is unknown."""
    inputs = _fixed_frames(frames, scale)
    return Examples(Recordings(frames, frames), frames.lengths, inputs, _no_targets)


def _no_targets(_indices: Array, _length: int = 0) -> None:
    return None


def _fixed_frames(pieces: Sequences, scale: Scale) -> Inputs:
    centre, spread = (rows.astype(np.float32) for rows in scale.rows(pieces))

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        values, real = gather(pieces, indices, length)  # [chosen, length, mels]
        scaled = (values - centre[indices][:, None]) / spread[indices][:, None]
        if real is not None:
            scaled[~real] = PADDING
        return {"steps": scaled}

    return inputs


def _augmented_frames(
    played: Sequences,
    spectrum: Spectrum,
    scale: Scale,
    augmentation: Augmentation,
    random: np.random.Generator,
) -> Inputs:
    """Frames of randomly augmented recordings, computed again for every batch."""

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        steps = np.full((len(indices), length, spectrum.n_mels), PADDING, dtype=np.float32)
        for row, k in enumerate(indices.tolist()):
            samples = played[k][:, 0]
            least = _least(played, k, spectrum, augmentation)
            frames = spectra.frames(
                spectra.augment(samples, augmentation, random, least=least), spectrum
            )[:length]
            scaled = _scaled(frames, scale)
            spectra.mask(scaled, augmentation, random)
            steps[row, : len(scaled)] = scaled
        return {"steps": steps}

    return inputs


def _least(played: Sequences, k: int, spectrum: Spectrum, augmentation: Augmentation) -> int:
    """Samples that a recording keeps at any speed, because its transcript may need all frames."""
    needed = played.static.get("frames")
    if needed is None or not augmentation.speed_perturbation:
        return 0
    return int(needed[k] - 1) * spectrum.hop_length + spectrum.frame_length + 1


def _scaled(frames: Array, scale: Scale) -> Array:
    """The scaled frames of a single recording, [frames, mels] float32."""
    centre, spread = scale.centre, scale.spread
    if scale.by == "series":
        own = fit_scale(_as_sequence(frames), scale.kind, "column")
        centre, spread = own.centre, own.spread
    scaled: Array = (frames - centre.astype(np.float32)) / spread.astype(np.float32)
    return scaled


def _as_sequence(frames: Array) -> Sequences:
    whole = np.array([0]), np.array([len(frames)])
    names = tuple(f"mel_{number}" for number in range(1, frames.shape[1] + 1))
    return Sequences(frames, whole[0], whole[1], whole[0], np.array(["0"]), names)


def shown(recordings: Recordings, k: int) -> dict[str, Any]:
    """A recording for the report: its frames, and its sound if that is small."""
    pieces, played = recordings.frames, recordings.played
    frames = pieces[k][:: -(-len(pieces[k]) // MAX_FRAMES)]
    content: dict[str, Any] = {
        "id": str(pieces.ids[k]),
        "columns": list(pieces.columns),
        "values": np.round(frames.astype(np.float64), 1).tolist(),
        "seconds": len(played[k]) / played.rate,
    }
    if 2 * len(played[k]) <= MAX_SOUND:
        content["sound"] = as_uri(played[k][:, 0], played.rate)
    return content


def as_uri(samples: Array, rate: int) -> str:
    """A recording as a data URI of a WAV file, which the report can play."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()

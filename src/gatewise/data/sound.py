"""What tasks on recordings share: frames fitted on train, batches, what the report plays."""

import base64
import io
import wave
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data import spectra
from gatewise.data.batches import PADDING, Examples, gather
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale, fit_scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.spectra import Changes, Spectrum
from gatewise.data.windows import cut
from gatewise.settings import Experiment, names

PLAYED = 120_000  # bytes of a recording that the report plays, at most: 7 s at 8,000 Hz
SHOWN_FRAMES = 200  # a longer recording is drawn with every second frame, every third ...
# The settings of whatever hears recordings.
SETTINGS = names(
    data="sound pattern sample_rate group",
    preparation="scale scale_by n_mels frame_length hop_length",
    training="noise speed_perturbation freq_mask time_mask max_tokens",
)
Inputs = Callable[[Array, int], dict[str, Array]]


def resolved(experiment: Experiment, recordings: Sequences) -> Experiment:
    """The settings with batch size and epochs filled in, by the number of recordings."""
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
    """How frames are made, those of the training part, and their scale.

    With preparation.scale_by = series every recording has a mean and a deviation of its own, that
    of a new one too, so that what it was recorded with matters less.
    """
    settings = experiment.preparation
    spectrum = spectra.spectrum_of(settings, train.rate)
    frames = spectra.framed(train, spectrum)
    kind = "standard" if settings.scale == "auto" else settings.scale
    by = "column" if settings.scale_by == "auto" else settings.scale_by
    if by == "series":
        # No recording is known by its name: new ones are measured just as those of training.
        nothing = np.zeros((1, spectrum.n_mels))
        return spectrum, frames, Scale(kind, by, (), nothing, nothing + 1)
    return spectrum, frames, fit_scale(frames, kind, by)


def examples(
    recordings: Sequences, preparation: Preparation, experiment: Experiment, role: str
) -> Examples:
    """The frames of recordings, or windows of them, scaled and padded; without targets.

    While a network learns from them, recordings are changed as the settings ask, anew each time.
    """
    spectrum = Spectrum(**preparation.sound)
    pieces = spectra.framed(recordings, spectrum)
    if preparation.window:
        pieces = cut(pieces, preparation.window, preparation.stride)
    played = spectra.heard(pieces, recordings, spectrum)
    changes = spectra.changes_of(experiment.training)
    if role == "train" and changes:
        lengths = changes.longest(played.lengths, spectrum)
        given = _changing(played, preparation, changes, experiment.training.seed)
    else:
        lengths, given = pieces.lengths, _still(pieces, preparation)
    return Examples(pieces, lengths, given, _nothing_wanted, sound=played)


def _nothing_wanted(_which: Array, _length: int = 0) -> None:
    return None


def _still(pieces: Sequences, preparation: Preparation) -> Inputs:
    centre, spread = (rows.astype(np.float32) for rows in preparation.scale.rows(pieces))

    def inputs(which: Array, length: int) -> dict[str, Array]:
        values, real = gather(pieces, which, length)  # [chosen, length, mels]
        scaled = (values - centre[which][:, None]) / spread[which][:, None]
        if real is not None:
            scaled[~real] = PADDING
        return {"steps": scaled}

    return inputs


def _changing(played: Sequences, preparation: Preparation, changes: Changes, seed: int) -> Inputs:
    """Frames made anew for every batch, of recordings that were changed at random."""
    spectrum = Spectrum(**preparation.sound)
    random = np.random.default_rng((seed, 2))  # not the numbers that deal the batches

    def inputs(which: Array, length: int) -> dict[str, Array]:
        steps = np.full((len(which), length, spectrum.n_mels), PADDING, dtype=np.float32)
        for row, k in enumerate(which.tolist()):
            samples = played[k][:, 0]
            least = _least(played, k, spectrum, changes)
            frames = spectra.frames(
                spectra.changed(samples, changes, random, least=least), spectrum
            )[:length]
            scaled = _scaled(frames, preparation.scale)
            spectra.mask(scaled, changes, random)
            steps[row, : len(scaled)] = scaled
        return {"steps": steps}

    return inputs


def _least(played: Sequences, k: int, spectrum: Spectrum, changes: Changes) -> int:
    """Samples that a recording keeps at any speed: its transcript may need all its frames."""
    needed = played.static.get("frames")
    if needed is None or not changes.speed_perturbation:
        return 0
    return int(needed[k] - 1) * spectrum.hop_length + spectrum.frame_length + 1


def _scaled(frames: Array, scale: Scale) -> Array:
    """One recording on its own, [frames, mels] float32."""
    centre, spread = scale.centre, scale.spread
    if scale.by == "series":
        own = fit_scale(_alone(frames), scale.kind, "column")
        centre, spread = own.centre, own.spread
    found: Array = (frames - centre.astype(np.float32)) / spread.astype(np.float32)
    return found


def _alone(frames: Array) -> Sequences:
    whole = np.array([0]), np.array([len(frames)])
    names = tuple(f"mel_{number}" for number in range(1, frames.shape[1] + 1))
    return Sequences(frames, whole[0], whole[1], whole[0], np.array(["0"]), names)


def shown(some: Examples, k: int) -> dict[str, Any]:
    """A recording as the report shows it: its frames, and its sound where that is small."""
    pieces, played = some.of, some.sound
    assert isinstance(pieces, Sequences) and played is not None
    frames = pieces[k][:: -(-len(pieces[k]) // SHOWN_FRAMES)]
    found: dict[str, Any] = {
        "id": str(pieces.ids[k]),
        "columns": list(pieces.columns),
        "values": np.round(frames.astype(np.float64), 1).tolist(),
        "seconds": len(played[k]) / played.rate,
    }
    if 2 * len(played[k]) <= PLAYED:
        found["sound"] = as_uri(played[k][:, 0], played.rate)
    return found


def as_uri(samples: Array, rate: int) -> str:
    """A recording as a text that the report can play: a WAV file as a data URI."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(rate)
        made.writeframes(samples.astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()

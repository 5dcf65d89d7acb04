"""Inputs of sequences of any length: tokens, or steps in their own units, and lengths."""

from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.batches import PADDING
from gatewise.data.preparation import Preparation
from gatewise.data.spectra import LOWEST, SILENCE
from gatewise.data.vocabulary import UNKNOWN, Vocabulary
from gatewise.errors import ConfigError
from gatewise.exporting.program import BATCH, STEPS, Extension, Port


def inputs_of(extension: Extension, preparation: Preparation[Any], *, padded: bool) -> list[Port]:
    """Declare the inputs of a network over steps, and scale numbers and frames.

    Raises:
        ConfigError: each sequence is scaled by its own steps.
    """
    if preparation.kind == "text":
        return [tokens_of(extension, padded=padded)]
    if preparation.scale.by == "series":
        raise ConfigError(
            "The run scales each sequence by its own steps (preparation.scale_by = series), which "
            "an export does not do. Train with preparation.scale_by = column."
        )
    columns = preparation.positions(preparation.used)
    centre, spread = (
        extension.constant(rows[0, columns])
        for rows in (preparation.scale.centre, preparation.scale.spread)
    )
    shape = (BATCH, STEPS, len(preparation.used))
    unit = (
        "frames of log-mel energies"
        if preparation.kind == "sound"
        else ("in the units of the training data")
    )
    port = Port("steps", shape, meaning=unit, columns=preparation.used)
    x = extension.input(port)
    scaled = extension.do("divide", extension.do("subtract", x, centre), spread)
    if not padded:
        extension.feed("steps", scaled)
        return [port]
    lengths = Port(
        "lengths",
        (BATCH,),
        "int64",
        "the number of real steps of each sequence; those after them are ignored",
    )
    extension.input(lengths)
    one = extension.do("ones_like", extension.do("getitem", x, key=["...", 0]), dtype="int32")
    number = extension.do("cumsum", one, axis=1)  # 1, 2, 3 ... [batch, steps]
    mask = extension.do("less_equal", number, extension.do("expand_dims", "lengths", axis=1))
    padding = extension.constant(np.float32(PADDING))
    extension.feed(
        "steps", extension.do("where", extension.do("expand_dims", mask, axis=-1), scaled, padding)
    )
    return [port, lengths]


def tokens_of(extension: Extension, name: str = "tokens", *, padded: bool) -> Port:
    """Declare an input of tokens."""
    meaning = f"the positions of {name}" + ("; 0 is padding" if padded else "")
    port = Port(name, (BATCH, STEPS), "int64", meaning)
    extension.feed(name, extension.do("cast", extension.input(port), dtype="int32"))
    return port


def outside(preparation: Preparation[Any]) -> list[str]:
    """Sentences on what the caller must do to sequences before."""
    own, found = preparation.own, _of_kind(preparation)
    if window := getattr(own, "window", 0):
        found.append(f"Cut sequences into windows of {window} steps, {own.stride} apart.")
    return found


def whole(preparation: Preparation[Any], blend: str = "none") -> Preparation[Any]:
    """The same preparation for whole sequences and the network alone, as the export answers."""
    return replace(preparation, own=replace(preparation.own, window=0, blend=blend))


def _of_kind(preparation: Preparation[Any]) -> list[str]:
    """Sentences on what the caller must do to texts and recordings before."""
    own = preparation.own
    if preparation.kind == "text":
        return text_outside(own.vocabulary, most=own.max_length, truncation=own.truncation)
    if preparation.kind != "sound":
        return []
    spectrum = own.spectrum
    return [
        f"Frames are computed from samples between -1 and 1 at {spectrum.rate} Hz: stretches of "
        f"{spectrum.frame_length} samples, {spectrum.hop_length} apart, times a periodic Hann "
        f"window; their power spectrum, summed over {spectrum.n_mels} triangular bands that are "
        f"evenly spaced on the mel scale of HTK from {LOWEST:g} Hz to {spectrum.rate // 2} Hz, "
        f"plus {SILENCE:g}; then the natural logarithm (gatewise.data.spectra.frames)."
    ]


def text_outside(vocabulary: Vocabulary, *, most: int = 0, truncation: str = "end") -> list[str]:
    """Sentences on how texts become tokens."""
    limit = f"At most {most} tokens are read; the {truncation} of a longer text is cut off. "
    return [
        f"Tokens are {vocabulary.kind}; `tokenizer` of export.json is their tokenizer, which "
        "Tokenizer.from_str(json.dumps(...)) of the package tokenizers opens. "
        + (limit if most else "")
        + f"A text without tokens is the token {UNKNOWN}."
    ]


def apart(blend: str, what: str) -> tuple[str, ...]:
    """A sentence on a run that averages its network with a baseline."""
    if blend in ("none", "auto"):  # without a validation part, auto blends nothing
        return ()
    return (
        f"The run averages the network's {what} with those of its baseline ({blend}); the export "
        "holds the network alone.",
    )


def facts(preparation: Preparation[Any]) -> dict[str, Any]:
    """The tokenizer of a run on texts, for export.json."""
    known = getattr(preparation.own, "vocabulary", None)
    return {"tokenizer": known.content} if known is not None else {}

"""Run folders of older formats, read as the present one.

Format 1 had other names for settings, and a preparation that held the fields of every task side by
side. What a run answers does not depend on its format.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gatewise.data.preparation import Preparation

FORMAT = 2  # what this version writes; it reads 1 as well

# Settings of format 1 that have another name now, by section.
SETTINGS = {
    "data": {"names": "column_names", "rate": "sample_rate"},
    "preparation": {
        "constant": "constant_columns",
        "unseen": "handle_unknown",
        "tokens": "tokenizer",
        "vocabulary": "vocabulary_size",
        "rarest": "min_frequency",
        "longest": "max_length",
        "overlong": "truncation",
        "shared": "shared_vocabulary",
        "mels": "n_mels",
        "frame": "frame_length",
        "hop": "hop_length",
    },
    "task": {"beams": "beam_size", "ngram": "lm_order", "ngram_weight": "lm_weight"},
    "network": {
        "noise": "gaussian_noise",
        "convolution": "filters",
        "fine": "asinh_features",
        "statistics": "summary_features",
        "segment": "segment_length",
        "embedding": "embedding_dim",
        "candidates": "sampled_softmax",
        "characters": "character_units",
        "tied": "tied_embeddings",
        "feeding": "input_feeding",
    },
    "training": {
        "tokens": "max_tokens",
        "speed": "speed_perturbation",
        "mask_mels": "freq_mask",
        "mask_frames": "time_mask",
        "clip_norm": "clipnorm",
        "clip_value": "clipvalue",
    },
    "evaluation": {"resamples": "n_resamples", "confidence": "confidence_level"},
}
# And their values.
VALUES: dict[str, dict[Any, Any]] = {
    "handle_unknown": {"unknown": "ignore"},
    "tokenizer": {"spaces": "whitespace"},
    "truncation": {"begin": "end", "end": "start"},  # what was kept; where it is cut off
    "input_feeding": {"above": False, "input": True},
}

# Fields of a preparation of format 1 that have another name now.
FITTED = {
    "unseen": "handle_unknown",
    "static_centre": "static_scale",
    "longest": "max_length",
    "overlong": "truncation",
    "stretch": "max_length_ratio",
    "beams": "beam_size",
    "ngram": "lm",
    "ngram_weight": "lm_weight",
    "sound": "spectrum",
}
SYMBOLS = {"token": "tokens", "word": "words", "character": "characters"}
SPECTRUM = {"mels": "n_mels", "frame": "frame_length", "hop": "hop_length"}


def present_settings(given: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The sections of settings.toml of a folder of format `number`, with the names of today.

    >>> present_settings({"preparation": {"longest": 9, "overlong": "end"}}, 1)
    {'preparation': {'max_length': 9, 'truncation': 'start'}}
    """
    if number == FORMAT:
        return dict(given)
    return {
        section: _renamed(values, SETTINGS.get(section, {})) for section, values in given.items()
    }


def present_preparation(given: Mapping[str, Any], own: type, number: int) -> dict[str, Any]:
    """The content of preparation.json of a folder of format `number`, as format 2 has it.

    `own` is the class of the task's own part.
    """
    if number == FORMAT:
        return dict(given)
    found = _renamed(given, FITTED)
    vocabularies = {
        name: one | {"kind": VALUES["tokenizer"].get(one["kind"], one["kind"])}
        for name, one in given.get("vocabularies", {}).items()
    }
    found["vocabularies"] = vocabularies
    found["vocabulary"] = next(iter(vocabularies.values()), None)
    found["spectrum"] = _renamed(given.get("sound", {}), SPECTRUM) or None
    found["lm"] = given.get("ngram") or None
    found |= _renamed(given.get("symbols", {}), SYMBOLS)
    return _of(Preparation, found) | {"own": _of(own, found)}


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The same values under their present names, in their present words."""
    found = {names.get(name, name): value for name, value in given.items()}
    for name in found.keys() & VALUES.keys() & set(names.values()):
        found[name] = VALUES[name].get(found[name], found[name])
    return found


def _of(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that are fields of the dataclass."""
    return {one.name: found[one.name] for one in fields(kind) if one.name in found}

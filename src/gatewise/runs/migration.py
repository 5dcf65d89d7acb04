"""Read run folders of older formats.

Format 1 has other names of settings, and one flat preparation with the fields of all tasks. The
predictions of a run do not depend on its format.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gatewise.data.preparation import Preparation

FORMAT = 2  # the format that this version writes; it also reads 1

# Renamed settings of format 1, by section.
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
# Renamed values of these settings.
VALUES: dict[str, dict[Any, Any]] = {
    "handle_unknown": {"unknown": "ignore"},
    "tokenizer": {"spaces": "whitespace"},
    "truncation": {
        "begin": "end",
        "end": "start",
    },  # from the side that is kept to the side that is truncated
    "input_feeding": {"above": False, "input": True},
}

# Renamed fields of a preparation of format 1.
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


def present_settings(content: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The sections of settings.toml of format `number`, with current names.

    >>> present_settings({"preparation": {"longest": 9, "overlong": "end"}}, 1)
    {'preparation': {'max_length': 9, 'truncation': 'start'}}
    """
    if number == FORMAT:
        return dict(content)
    return {
        section: _renamed(values, SETTINGS.get(section, {})) for section, values in content.items()
    }


def present_preparation(content: Mapping[str, Any], own: type, number: int) -> dict[str, Any]:
    """The content of preparation.json of format `number`, converted to format 2.

    `own` is the class of the task's part.
    """
    if number == FORMAT:
        return dict(content)
    values = _renamed(content, FITTED)
    vocabularies = {
        name: one | {"kind": VALUES["tokenizer"].get(one["kind"], one["kind"])}
        for name, one in content.get("vocabularies", {}).items()
    }
    values["vocabularies"] = vocabularies
    values["vocabulary"] = next(iter(vocabularies.values()), None)
    values["spectrum"] = _renamed(content.get("sound", {}), SPECTRUM) or None
    values["lm"] = content.get("ngram") or None
    values |= _renamed(content.get("symbols", {}), SYMBOLS)
    return _fields_of(Preparation, values) | {"own": _fields_of(own, values)}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The same settings with current names and values."""
    renamed = {names.get(name, name): value for name, value in values.items()}
    for name in renamed.keys() & VALUES.keys() & set(names.values()):
        renamed[name] = VALUES[name].get(renamed[name], renamed[name])
    return renamed


def _fields_of(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are fields of the dataclass."""
    return {one.name: values[one.name] for one in fields(kind) if one.name in values}

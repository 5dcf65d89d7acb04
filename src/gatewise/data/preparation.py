"""The fitted steps, kept with the model: what training learnt about the data besides the weights.

Training, evaluation and prediction turn values into network inputs through one and the same
Preparation.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Kind, Sequences
from gatewise.data.vocabulary import Vocabulary
from gatewise.errors import DataError


@dataclass(frozen=True)
class Preparation:
    """Everything between the values of a file and the numbers that the network sees."""

    task: str
    columns: tuple[str, ...]  # the columns of Sequences.values that it expects, in order
    used: tuple[str, ...]  # those of them that the network reads as numbers
    scale: Scale  # of `used`
    # Texts known from training, of each column of texts and each static text.
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    handle_unknown: str = "ignore"
    classes: tuple[str, ...] = ()  # classify
    separator: str = ""  # classify: between the labels of a sequence that may have several
    temperature: float = 1.0  # classify: logits are divided by it
    blend: str = "none"  # classify: the baseline that is averaged with the network
    window: int = 0  # classify: long sequences are cut into pieces of so many steps
    stride: int = 0
    padded: bool = False  # the network masks padding
    targets: tuple[str, ...] = ()  # forecast
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    # Mean and spread of each static number.
    static_centre: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calendar: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    # Forecast: added to the quantiles, [horizon][quantiles].
    margins: tuple[tuple[float, ...], ...] = ()
    never_negative: tuple[str, ...] = ()  # forecast: targets that were never below 0 in training
    floor: str = "none"  # forecast: "zero" answers no less than 0 for those
    lookback: int = 0
    horizon: int = 0
    season: int = 1
    step: str = ""
    kind: Kind = "numbers"  # what a step of the sequences is
    # tag: what is known from training of tokens as spelled, of words and of characters.
    symbols: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)  # input or output -> its
    max_length: int = 0  # tokens of a text that are read at most
    truncation: str = "end"  # where a longer one is cut off
    max_length_ratio: float = (
        0.0  # translate: target tokens at most, for each source token and five more
    )
    lowercase: bool = True  # transcribe: how transcripts are made comparable
    punctuation: bool = False
    strides: tuple[int, ...] = ()  # transcribe: frames to a step of the network, layer by layer
    beam_size: int = 1  # transcribe: answers that are followed side by side
    lm: Mapping[str, Any] = field(default_factory=dict)  # transcribe: decoding.Characters
    lm_weight: float = 0.0
    sound: Mapping[str, int] = field(default_factory=dict)  # how frames are made: spectra.Spectrum

    def positions(self, names: tuple[str, ...]) -> Array:
        """Where these columns stand in Sequences.values."""
        return np.array([self.columns.index(name) for name in names], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, texts and numbers."""
        vocabularies = {name: one.to_json() for name, one in self.vocabularies.items()}
        plain = asdict(replace(self, vocabularies={}))
        return plain | {"scale": self.scale.to_json(), "vocabularies": vocabularies}

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> "Preparation":
        """What `to_json` wrote."""
        # An older version's folder lacks the keys that came later; their defaults are what it did.
        known = [one.name for one in fields(Preparation) if one.name in given]
        values = {name: _tuples(given[name]) for name in known}
        values["scale"] = Scale.from_json(given["scale"])
        values["vocabularies"] = {
            name: Vocabulary.from_json(one) for name, one in given.get("vocabularies", {}).items()
        }
        return Preparation(**values)


def _tuples(value: Any) -> Any:
    """JSON has lists where the dataclass has tuples."""
    if isinstance(value, list):
        return tuple(_tuples(one) for one in value)
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return value


def seen_categories(train: Sequences, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The texts of each column of texts and each static text that occur in training."""
    seen = {}
    for name in names:
        if name in train.levels:
            column = train.columns.index(name)
            codes = np.concatenate([np.unique(steps[:, column]) for steps in train])
            levels = np.array(train.levels[name])
            seen[name] = tuple(levels[np.unique(codes[np.isfinite(codes)]).astype(int)].tolist())
        elif name in train.static and train.static[name].dtype.kind not in "fiu":
            seen[name] = tuple(np.unique(train.static[name].astype(str)).tolist())
    return seen


def one_hot(
    texts: Array, known: tuple[str, ...], handle_unknown: str, column: str, source: str
) -> Array:
    """[..., known] with a 1 at the text; all zero where the text was not seen in training.

    Raises:
        DataError: an unseen text, when `handle_unknown` is "error".
    """
    hot: Array = (texts[..., None] == np.array(known, dtype=str)).astype(np.float32)
    if handle_unknown == "error" and not hot.any(axis=-1).all():
        stranger = texts[~hot.any(axis=-1)].flat[0]
        raise DataError(
            f"{source}: column '{column}' holds '{stranger}', which did not occur in training "
            f"(known: {', '.join(known[:10])}). Train with it, or set preparation.handle_unknown = "
            "ignore."
        )
    return hot


def level_texts(sequences: Sequences, name: str, codes: Array) -> Array:
    """The texts behind the positions of a column of texts; "" where the cell is empty."""
    levels = np.array([*sequences.levels[name], ""])
    texts: Array = levels[np.where(np.isfinite(codes), codes, -1).astype(int)]
    return texts

"""The settings of a run: dataclasses, read from and written to TOML.

Every key is optional. A number that is 0, a text or a list that is empty means "not given":
gatewise then guesses from the training part and says what it guessed. The resolved settings are
saved with the run.
"""

import math
import os
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import tomli_w

from gatewise.errors import ConfigError

Calendar = Literal["auto", "none", "minute", "hour", "weekday", "monthday", "yearday", "month"]


@dataclass(frozen=True)
class DataSettings:
    """`[data]`: where the sequences are and what their columns mean."""

    path: str = ""
    validation: str = ""  # the validation part, when it is kept in a file of its own
    test: str = ""  # the test part, when it is kept in a file of its own
    labels: str = ""  # the labels of an IDX file, when they cannot be found by its name
    column_names: tuple[str, ...] = ()  # of the columns, for a file without a line of names
    quotes: bool = True  # whether cells are quoted, as CSV has them
    encoding: str = "utf-8"  # of texts
    layout: Literal["auto", "long", "wide"] = "auto"  # one row a step, or one row a sequence
    id: tuple[str, ...] = ()  # the columns whose values together name a sequence
    time: str = ""
    time_format: str = ""  # as in strptime, when the times are not ISO 8601
    target: tuple[str, ...] = ()  # forecast: the columns to forecast
    past: tuple[str, ...] = ()  # forecast: covariates known only up to now
    known: tuple[str, ...] = ()  # forecast: covariates known ahead (holidays, prices)
    static: tuple[str, ...] = ()  # one value a sequence
    features: tuple[str, ...] = ()  # classify: the columns to read; empty: every column of numbers
    label: str = ""  # the column of labels, of tags, of translations or of transcripts
    text: tuple[str, ...] = ()  # the columns of texts; several are read one below the other
    sound: str = ""  # the column of paths of recordings
    # What the names of files say, such as "{label}_{speaker}_{take}.wav".
    pattern: str = ""
    sample_rate: int = (
        0  # sound: samples a second that recordings are brought to; 0: the most frequent
    )
    # classify: what stands between the labels of a sequence that has several, such as ";"
    separator: str = ""
    # classify: three columns each that are x, y and z of one vector, such as an acceleration
    triads: tuple[tuple[str, ...], ...] = ()
    group: str = ""  # sequences of one group (a person, a machine) stay in one part
    missing: Literal["error", "previous", "linear", "zero"] = "error"
    missing_values: tuple[str, ...] = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
    duplicates: Literal["error", "first", "last", "mean", "sum"] = "error"
    gaps: Literal["error", "fill", "ignore"] = "error"  # steps missing from a regular series


@dataclass(frozen=True)
class SplitSettings:
    """`[split]`: below 1 a share, from 1 on a count (steps of a series, or sequences)."""

    train: float = 0.0  # 0: all that is left
    validation: float = 0.1
    test: float = 0.2
    by: Literal["auto", "time", "label", "group", "random"] = "auto"
    rare_labels: Literal["error", "drop", "train"] = "error"  # labels too few for every part
    test_ids: str = ""  # a regular expression: sequences whose ids hold it are the test part
    seed: int = 0


@dataclass(frozen=True)
class PreparationSettings:
    """`[preparation]`: the steps fitted on the training part."""

    scale: Literal["auto", "standard", "minmax", "none"] = "auto"
    scale_by: Literal["auto", "series", "column", "all"] = "auto"
    constant_columns: Literal["drop", "keep", "error"] = (
        "drop"  # columns that never change in training
    )
    handle_unknown: Literal["ignore", "error"] = "ignore"  # categories that training did not have
    calendar: tuple[Calendar, ...] = ("auto",)
    # What a step of a text is; whitespace: what stands between white space, already tokenised.
    tokenizer: Literal["auto", "words", "whitespace", "characters", "bpe"] = "auto"
    vocabulary_size: int = (
        0  # different tokens at most; 0: 20,000 words, 8,000 pieces, all characters
    )
    min_frequency: int = 0  # a token that occurs less often is unknown; 0: by the kind of token
    lowercase: bool = True
    max_length: int = 0  # tokens of a text at most; 0: by the lengths in training
    truncation: Literal["end", "start", "error"] = "end"  # where a text that is longer is cut off
    shared_vocabulary: bool = True  # translate: one vocabulary for both languages
    n_mels: int = 40  # sound: bands of pitch that a frame tells of
    frame_length: float = 25.0  # sound: milliseconds that a frame hears
    hop_length: float = 10.0  # sound: milliseconds from one frame to the next
    punctuation: bool = False  # transcribe: whether signs are part of a transcript


@dataclass(frozen=True)
class TaskSettings:
    """`[task]`: what is asked."""

    name: str = ""
    horizon: int = 0
    lookback: int = 0
    season: int = 0  # steps; 1 says that there is none
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    floor: Literal["none", "zero"] = "none"  # forecast: where answers are cut off
    window: int = 0  # classify: cut long sequences into windows of so many steps
    stride: int = 0  # steps from one window to the next; 0: 1 for forecast, the window for classify
    blend: Literal["none", "logistic"] = "none"  # classify: what is averaged with the network
    # translate, transcribe: answers that are followed side by side; 1: greedy; 0: by the task
    beam_size: int = 0
    # translate: 0 compares answers by their chance, which is for short ones; 1 about by the token
    length_penalty: float = 1.0
    lm_order: int = 0  # transcribe: characters that a language model of transcripts sees; 0: none
    lm_weight: float = 0.0  # transcribe: what it counts; 0: chosen on the validation part
    streaming: bool = False  # transcribe: read forwards only, as words are heard


@dataclass(frozen=True)
class NetworkSettings:
    """`[network]`: the Keras model."""

    kind: Literal["auto", "stack", "segments"] = "auto"
    units: tuple[int, ...] = ()  # one number a layer
    bidirectional: bool = False
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    dropout: float = 0.0  # on the inputs of each LSTM
    recurrent_dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    normalization: Literal["none", "batch", "layer"] = "none"
    pooling: Literal["auto", "last", "mean", "max", "mean-max", "all", "attention"] = "auto"
    dense: tuple[int, ...] = ()  # dense layers between the LSTM and the answer
    dense_activation: str = "relu"
    dense_dropout: float = -1.0  # before each dense layer; -1: none in stack, 0.3 in segments
    gaussian_noise: float = 0.0  # classify: deviation of noise on the scaled inputs while training
    filters: tuple[int, ...] = ()  # classify: filters of layers between the inputs and the LSTM
    kernel_size: int = 8  # steps that a convolution sees
    strides: int = 4  # steps from one place of a convolution to the next
    # classify: movements down to this share of a column's deviation are shown beside it; 0: none
    asinh_features: float = 0.0
    summary_features: bool = (
        False  # classify: what the logistic baseline sees, beside what the LSTM says
    )
    segment_length: int = 0  # forecast: steps of the window that one LSTM step reads
    linear: bool = True  # segments: a linear map of the window beside the LSTM
    # forecast: what each window is measured from
    subtract: Literal["auto", "last", "none"] = "auto"
    embedding_dim: int = 0  # numbers for each token of a text; 0: by the size of the vocabulary
    embedding_dropout: float = 0.0  # on the vectors of tokens
    weight_dropout: float = 0.0  # language: on the recurrent weights
    # language: while training, tokens that the right one is told from; 0: all 20,000, of more 8,192
    sampled_softmax: int = 0
    character_units: int = 32  # tag: units that spell out each word in either direction; 0: none
    # tag: while training, a word that occurs n times is read as unknown with the chance w / (w + n)
    word_dropout: float = 0.25
    tied_embeddings: bool = (
        True  # language, translate: the answer is read off the vectors of the tokens
    )
    # translate: the attention vector is an input of the next step (Luong et al. 2015)
    input_feeding: bool = False
    build: str = ""  # "file.py:function" of your own: (shapes, settings) -> keras.Model


@dataclass(frozen=True)
class TrainingSettings:
    """`[training]`: how the network is fitted."""

    epochs: int = 0
    batch_size: int = 0
    max_tokens: int = (
        0  # steps in a batch at most, so that long sequences make smaller batches; 0: any
    )
    optimizer: str = "adam"
    learning_rate: float = 0.0  # 0: the optimizer's own
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    schedule: Literal["constant", "cosine", "exponential", "plateau"] = "constant"
    warmup: float = 0.0  # share of all steps over which the learning rate rises from zero
    loss: str = "auto"
    label_smoothing: float = 0.0
    class_weight: Literal["none", "balanced"] = "none"
    noise: float = 0.0  # sound: noise of up to so much of the recording's own loudness
    speed_perturbation: float = (
        0.0  # sound: recordings are played up to this share faster or slower
    )
    freq_mask: int = 0  # sound: bands side by side that are blanked, at most, twice in a recording
    time_mask: int = 0  # sound: frames in a row that are blanked, at most, twice in a recording
    rotation: float = 0.0  # classify: deviation of random turns of data.triads, in radians an axis
    clipnorm: float = 1.0  # 0: no clipping
    clipvalue: float = 0.0
    # What chooses the best epoch: a metric of the task, or loss; auto: the metric of the verdict.
    monitor: str = "auto"
    patience: int = -1  # epochs without a better `monitor`; -1: a sixth of them; 0: never stop
    seed: int = 0


@dataclass(frozen=True)
class EvaluationSettings:
    """`[evaluation]`: how the answer is judged."""

    metric: str = "auto"  # the one the verdict speaks of
    scaled: bool = False  # forecast: errors on the scaled values, as papers report them
    stride: int = 0  # forecast: steps between origins; 0: 1, or so many that 10,000 origins remain
    n_resamples: int = 2000
    confidence_level: float = 0.95


@dataclass(frozen=True)
class EngineSettings:
    """`[engine]`: which LSTM kernels run."""

    kind: Literal["auto", "native", "stock"] = "auto"


@dataclass(frozen=True)
class ReportSettings:
    """`[report]`: the report on a run."""

    title: str = ""
    examples: int = 6


@dataclass(frozen=True)
class Experiment:
    """All settings of one run, a section each."""

    data: DataSettings = DataSettings()
    split: SplitSettings = SplitSettings()
    preparation: PreparationSettings = PreparationSettings()
    task: TaskSettings = TaskSettings()
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    engine: EngineSettings = EngineSettings()
    report: ReportSettings = ReportSettings()

    def having(self, section: str, **values: Any) -> "Experiment":
        """The same experiment with some keys of one section changed."""
        return replace(self, **{section: replace(getattr(self, section), **values)})


# Numbers are not negative, apart from these; the second number is the most, where there is one.
LIMITS: dict[str, tuple[float, float]] = {
    "network.units": (1, math.inf),
    "network.dropout": (0, 1),
    "network.embedding_dropout": (0, 1),
    "network.weight_dropout": (0, 1),
    "network.dense_dropout": (-1, 1),
    "network.recurrent_dropout": (0, 1),
    "network.dense": (1, math.inf),
    "network.filters": (1, math.inf),
    "network.kernel_size": (1, math.inf),
    "network.strides": (1, math.inf),
    "training.warmup": (0, 1),
    "training.label_smoothing": (0, 1),
    "training.rotation": (0, math.pi),
    "training.speed_perturbation": (0, 0.5),
    "preparation.n_mels": (1, math.inf),
    "preparation.frame_length": (1, math.inf),
    "preparation.hop_length": (1, math.inf),
    "training.patience": (-1, math.inf),
    "training.seed": (0, 2**32 - 1),
    "split.seed": (0, 2**32 - 1),
    "evaluation.n_resamples": (1, math.inf),
    "evaluation.confidence_level": (0, 1),
}


HOLDING = {"numbers": "numbers", "text": "texts", "tokens": "tokens", "sound": "recordings"}


def names(**sections: str) -> frozenset[str]:
    """Names of settings, from the keys of each section.

    >>> sorted(names(task="horizon season", data="target"))
    ['data.target', 'task.horizon', 'task.season']
    """
    found = {f"{section}.{key}" for section, keys in sections.items() for key in keys.split()}
    known = {f"{section}.{key}" for section, keys in asdict(Experiment()).items() for key in keys}
    assert found <= known, found - known
    return frozenset(found)


def from_toml(path: Path) -> Experiment:
    """Read an experiment from a TOML file; what it leaves out has its default.

    Raises:
        ConfigError: the file is missing or no TOML, or a section, a key or a value is not known.
    """
    return from_mapping(layer_of(path))


def layer_of(settings: Any) -> Mapping[str, Any]:
    """The sections and keys that a mapping or a TOML file gives, and no others.

    Raises:
        ConfigError: it is neither, or the file is missing or no TOML.
    """
    if isinstance(settings, Mapping):
        return settings
    if not isinstance(settings, str | os.PathLike):
        raise ConfigError(
            "Settings are a mapping of sections, such as {'training': {'epochs': 3}}, or the path "
            f"of a TOML file. Received: {settings!r}."
        )
    path = Path(settings)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"There is no settings file {path}.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text, as TOML must be. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None


def from_mapping(given: Mapping[str, Any], base: Experiment | None = None) -> Experiment:
    """Lay the given sections and keys over `base` (by default: over the defaults).

    >>> from_mapping({"training": {"epochs": 3}}).training.epochs
    3
    """
    experiment = base or Experiment()
    for section, values in given.items():
        known = [one.name for one in fields(Experiment)]
        if section not in known:
            raise ConfigError(f"There is no section [{section}]. {_hint(section, known)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"[{section}] must hold keys and values. Received: {values!r}.")
        current = getattr(experiment, section)
        experiment = replace(experiment, **{section: _section(section, current, values)})
    return experiment


def assignment(text: str) -> tuple[str, str, Any]:
    """`section.key=value` in its three parts; the value is read as TOML, else as plain text.

    >>> assignment("network.units=[32, 16]"), assignment("data.time=day")
    (('network', 'units', [32, 16]), ('data', 'time', 'day'))
    """
    name, equals, written = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"--set wants section.key=value. Received: {text!r}.")
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, written.strip()
    # A column may be called 1.10, which is not the number 1.1.
    as_written = _wants_text(section, key) and not isinstance(value, str | list)
    return section, key, written.strip() if as_written else value


def _wants_text(section: str, key: str) -> bool:
    """Whether this key holds a text or texts."""
    kinds = typing.get_type_hints(type(getattr(Experiment(), section, None)))
    return kinds.get(key) in (str, tuple[str, ...])


def to_toml(experiment: Experiment) -> str:
    """The full experiment as TOML; `from_mapping(tomllib.loads(...))` gives it back."""
    return tomli_w.dumps(asdict(experiment))


def _section(section: str, current: Any, given: Mapping[str, Any]) -> Any:
    kinds = typing.get_type_hints(type(current))
    for key in given:
        if key not in kinds:
            raise ConfigError(f"[{section}] has no key '{key}'. {_hint(key, kinds)}")
    values = {key: _value(f"{section}.{key}", kinds[key], value) for key, value in given.items()}
    return replace(current, **values)


def _value(name: str, kind: Any, value: Any) -> Any:
    """`value` as the dataclass wants it, or a ConfigError that says what it wants."""
    origin = typing.get_origin(kind)
    if origin is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{name} wants one of {', '.join(choices)}. Received: {value!r}.")
        return value
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        listed = value if isinstance(value, list | tuple) else [value]
        return tuple(_value(name, inner, one) for one in listed)
    if origin is dict:
        return _table(name, value)
    if kind is str:
        return _text(name, value)
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{name} wants true or false. Received: {value!r}.")
        return value
    return _number(name, kind, value)


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} wants a table of keys and values. Received: {value!r}.")
    try:
        tomli_w.dumps(value)
    except TypeError:
        raise ConfigError(
            f"{name} holds what TOML cannot, so it could not be saved. Received: {value!r}."
        ) from None
    return dict(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, str) or (isinstance(value, Real) and not isinstance(value, bool)):
        return str(value)
    raise ConfigError(f"{name} wants a text. Received: {value!r}.")


def _number(name: str, kind: Any, value: Any) -> Any:
    """A finite number within its limits; a whole number of NumPy's will do as well."""
    wanted, words = (Integral, "a whole number") if kind is int else (Real, "a number")
    if not isinstance(value, wanted) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{name} wants {words}. Received: {value!r}.")
    least, most = LIMITS.get(name, (0, math.inf))
    if not least <= float(value) <= most:
        limit = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        raise ConfigError(f"{name} must be {limit}. Received: {value!r}.")
    return kind(value)


def _hint(given: str, known: Iterable[str]) -> str:
    near = get_close_matches(given, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."

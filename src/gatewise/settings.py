"""The settings of a run: dataclasses, read from and written to TOML.

Every key is optional. A number that is 0, a text or a list that is empty means "not given":
gatewise then chooses from the training part and reports its choice. The resolved settings are
saved with the run. The text behind each type is the meaning of the key, from which the
documentation is made.
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
from typing import Annotated, Any, Literal

import tomli_w

from gatewise.errors import ConfigError

Calendar = Literal["auto", "none", "minute", "hour", "weekday", "monthday", "yearday", "month"]
Columns = tuple[str, ...]
QUALITIES = ("fast", "good", "best")
OWN = "own"  # network.kind of a network that the user built
TRAINING_PART = "train"  # training.pretrain without a file of more texts


@dataclass(frozen=True)
class DataSettings:
    """`[data]`: where the sequences are and what their columns mean."""

    path: Annotated[
        str, "The file to read, or the name of a data set that ships with gatewise."
    ] = ""
    validation: Annotated[str, "The file of the validation part, if it has a file of its own."] = ""
    test: Annotated[str, "The file of the test part, if it has a file of its own."] = ""
    labels: Annotated[str, "The file of labels, if its name does not follow from the data's."] = ""
    column_names: Annotated[Columns, "The names of the columns, for a file without a header."] = ()
    quotes: Annotated[bool, "Whether cells may be quoted, as CSV allows."] = True
    encoding: Annotated[str, "The encoding of text files. A byte-order mark overrides it."] = (
        "utf-8"
    )
    skip_rows: Annotated[
        int, "The lines above the header, blank ones included. 0: found; -1: none."
    ] = 0
    header_rows: Annotated[int, "The rows that name the columns. 0: found."] = 0
    footer_rows: Annotated[int, "The lines below the table. 0: found; -1: none."] = 0
    comment: Annotated[str, 'The beginning of lines that are comments, such as "#".'] = ""
    decimal: Annotated[str, 'The decimal mark of numbers, "." or ",". Empty: found.'] = ""
    thousands: Annotated[str, "The mark between thousands. Empty: found."] = ""
    layout: Annotated[
        Literal["auto", "long", "wide"], "`long`: a row is a step; `wide`: a row is a sequence."
    ] = "auto"
    id: Annotated[Columns, "The columns that together identify a sequence."] = ()
    time: Annotated[
        Columns,
        "The column that orders the steps, or the columns that together are its time. Guessed if "
        "one column holds times.",
    ] = ()
    time_format: Annotated[
        str,
        "The `strptime` format of times that are not ISO 8601; or quarter, half-year, week, year, "
        "elapsed (seconds since a start), excel (days since 1899-12-30), excel 1904, "
        "epoch s, epoch ms, epoch us or epoch ns. "
        "Guessed if one reads them.",
    ] = ""
    timezone: Annotated[
        str,
        "The time zone of local times, such as Europe/Berlin. Guessed from times with offsets.",
    ] = ""
    target: Annotated[
        Columns, "The columns to forecast or to watch, or the numbers to predict."
    ] = ()
    target_per: Annotated[
        Literal["auto", "sequence", "step"],
        "Whether a target is one number for each sequence, or one at each step. `auto`: at each "
        "step if it changes within a sequence.",
    ] = "auto"
    past: Annotated[Columns, "Covariates that are known up to the present only."] = ()
    known: Annotated[Columns, "Covariates that are known in advance, such as holidays."] = ()
    static: Annotated[Columns, "Columns with one value for each sequence."] = ()
    features: Annotated[Columns, "The columns to read. Empty: every numeric column."] = ()
    label: Annotated[
        str, "The column of labels, marks of anomalies, tags, translations or transcripts."
    ] = ""
    label_columns: Annotated[
        Columns, "Columns of 0 and 1, one for each label that a sequence may have."
    ] = ()
    text: Annotated[Columns, "The columns of texts. Several are joined, a line each."] = ()
    sound: Annotated[str, "The column with the paths of recordings."] = ""
    pattern: Annotated[str, 'What file names mean, such as "{label}_{speaker}_{take}.wav".'] = ""
    sample_rate: Annotated[
        int, "Recordings are resampled to this rate in Hz. 0: the most frequent rate."
    ] = 0
    separator: Annotated[
        str, 'Separates the labels of a sequence that has several, such as ";".'
    ] = ""
    triads: Annotated[
        tuple[tuple[str, ...], ...],
        "Groups of three columns that are x, y and z of one vector, such as an acceleration.",
    ] = ()
    group: Annotated[
        str, "Sequences with the same value (a person, a machine) stay in the same part."
    ] = ""
    missing: Annotated[
        Literal["error", "previous", "linear", "zero", "drop-leading"],
        "How to treat missing values: stop, repeat the previous value, interpolate, or put zero. "
        "`drop-leading`: leave out steps before the first value, then repeat the previous value.",
    ] = "error"
    missing_values: Annotated[Columns, "The texts that mean a missing value."] = (
        *("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?"),
    )
    duplicates: Annotated[
        Literal["error", "first", "last", "mean", "sum"],
        "How to treat rows of one sequence that have the same time.",
    ] = "error"
    gaps: Annotated[
        Literal["error", "fill", "ignore"], "How to treat missing steps of a regular series."
    ] = "error"


@dataclass(frozen=True)
class SplitSettings:
    """`[split]`: below 1 a share, from 1 on a count (steps of a series, or sequences)."""

    train: Annotated[
        float,
        "The size of the training part. Here and below: under 1 a share, from 1 on a count of "
        "steps (split by time) or of sequences. 0: all that is left.",
    ] = 0.0
    validation: Annotated[
        float, "The size of the part on which the best epoch and the calibration are chosen."
    ] = 0.1
    test: Annotated[
        float, "The size of the part that is evaluated once, at the end. 0: no test, no verdict."
    ] = 0.2
    by: Annotated[
        Literal["auto", "time", "label", "group", "random"],
        "`auto`: by time for targets over time; else by group if there is one, else by label.",
    ] = "auto"
    rare_labels: Annotated[
        Literal["error", "drop", "train"],
        "How to treat labels with too few sequences for every part: stop, drop the sequences, or "
        "keep all of them for training.",
    ] = "error"
    test_ids: Annotated[
        str, "A regular expression. Sequences whose id matches it are the test part."
    ] = ""
    seed: Annotated[int, "The seed of the random assignment to parts."] = 0
    folds: Annotated[
        int,
        "The folds of cross-validation, which tests every sequence once. 0: by `training.quality`; "
        "1: one test part instead. For forecasts, the stretches of the test part, before each of "
        "which the network is trained again; 0: one.",
    ] = 0


@dataclass(frozen=True)
class PreparationSettings:
    """`[preparation]`: the steps fitted on the training part."""

    scale: Annotated[
        Literal["auto", "standard", "minmax", "level", "none"],
        "`standard`: mean 0, deviation 1; `minmax`: 0 to 1; `level`: divided by the mean absolute "
        "value. `auto`: `minmax` for images, `level` for forecasts in logarithms, else `standard`.",
    ] = "auto"
    scale_by: Annotated[
        Literal["auto", "series", "column", "all"],
        "One scale for each series, for each column, or for all values. `auto`: by series where "
        "several series are forecast, all values for images, else by column.",
    ] = "auto"
    constant_columns: Annotated[
        Literal["drop", "keep", "error"], "How to treat columns that never change in training."
    ] = "drop"
    handle_unknown: Annotated[
        Literal["ignore", "error"],
        "How to treat categories that did not occur in training; `ignore` encodes them as zeros.",
    ] = "ignore"
    calendar: Annotated[
        tuple[Calendar, ...],
        "Parts of the date that are given to the network as sine and cosine. `auto`: by the "
        "spacing of the steps.",
    ] = ("auto",)
    tokenizer: Annotated[
        Literal["auto", "words", "whitespace", "characters", "bpe"],
        "What a token is. `words`: words and punctuation marks; `whitespace`: what stands between "
        "white space, for texts that are already tokenised; `bpe`: byte pairs.",
    ] = "auto"
    vocabulary_size: Annotated[
        int,
        "The most tokens that the vocabulary holds. 0: 20,000 words, 50,000 by white space, 8,000 "
        "byte pairs (2,000 to translate with fewer than 10,000 pairs), 5,000 characters.",
    ] = 0
    min_frequency: Annotated[
        int, "A token that occurs less often in training is unknown. 0: by the tokenizer."
    ] = 0
    lowercase: Annotated[bool, "Whether texts are converted to lower case."] = True
    max_length: Annotated[
        int, "The most tokens that are read of a text. 0: by the lengths in training."
    ] = 0
    truncation: Annotated[
        Literal["end", "start", "error"], "Where a longer text is cut off; `error` stops the run."
    ] = "end"
    bigrams: Annotated[
        int,
        "The rows of a table of tokens and of pairs of neighbours, which the network reads beside "
        "its LSTM: how much more often each label has them (Wang & Manning 2012). 0: none; -1: by "
        "the size of the training part, none with `training.quality = fast` or for characters.",
    ] = -1
    shared_vocabulary: Annotated[bool, "Whether both languages share one vocabulary."] = True
    n_mels: Annotated[int, "The number of mel bands of a frame."] = 40
    frame_length: Annotated[float, "The length of a frame in milliseconds."] = 25.0
    hop_length: Annotated[float, "Milliseconds from the start of a frame to the next."] = 10.0
    punctuation: Annotated[bool, "Whether transcripts keep their punctuation marks."] = False


@dataclass(frozen=True)
class TaskSettings:
    """`[task]`: what is predicted."""

    name: Annotated[str, "The task. Guessed if the data leave no doubt; the guess is reported."] = (
        ""
    )
    horizon: Annotated[
        int,
        "The number of steps to forecast. 0: the usual one for the spacing. For anomalies: how "
        "many steps ahead a step is predicted at most; 0: 8.",
    ] = 0
    lookback: Annotated[
        int,
        "The number of past steps that the network reads. 0: two seasons or two horizons. For a "
        "running text: the tokens through which gradients flow; 0: 100 characters, 35 words, 70 "
        "byte pairs.",
    ] = 0
    season: Annotated[
        int,
        "The length of the seasonal cycle in steps. 0: estimated on the training part, else that "
        "of the calendar; 1: none.",
    ] = 0
    quantiles: Annotated[
        tuple[float, ...], "The quantiles to predict, in rising order, between 0 and 1."
    ] = (0.1, 0.5, 0.9)
    transform: Annotated[
        Literal["auto", "none", "log", "power"],
        "What is applied to targets before the network learns them, and undone after it. `power`: "
        "Yeo-Johnson. `auto`: `log` or `power` for a target that is skewed in training.",
    ] = "auto"
    floor: Annotated[
        Literal["none", "zero"],
        "`zero`: a target that was never negative in training is never forecast below 0.",
    ] = "none"
    false_alarms: Annotated[
        float,
        "The share of normal steps that may give an alarm, between 0 and 1. The threshold that "
        "keeps it on the validation part is taken.",
    ] = 0.001
    window: Annotated[int, "Long sequences are cut into windows of this many steps. 0: whole."] = 0
    stride: Annotated[
        int,
        "Steps from one window to the next. 0: the window; for a forecast 1, or as many as the "
        "time of `training.quality` needs.",
    ] = 0
    blend: Annotated[
        Literal["auto", "none", "logistic", "ridge", "ngrams"],
        "`logistic`: predict the mean of the network's probabilities and those of the logistic "
        "regression on summaries, or on the steps. `ridge`: the mean of the network's forecast and "
        "that of ridge on the window, or of its number and that of ridge on summaries or on the "
        "steps, with the share that suits the validation part best. `ngrams`: the mean of the "
        "probabilities of the next token and those of n-grams, with such a share. `auto`: if it "
        "lowers the loss of the validation part, or the error of forecasts and numbers; `none` "
        "with `training.quality = fast` and where sequences have several labels.",
    ] = "auto"
    beam_size: Annotated[
        int, "The hypotheses that the beam search keeps. 1: greedy; 0: by the task."
    ] = 0
    length_penalty: Annotated[
        float,
        "The exponent of the length normalisation (Wu et al. 2016). 0 compares hypotheses by "
        "probability, which favours short ones; 1 about by the probability a token.",
    ] = 1.0
    lm_order: Annotated[
        int, "The order of the character language model of transcripts. 0: no language model."
    ] = 0
    lm_weight: Annotated[
        float, "The weight of the language model. 0: chosen on the validation part."
    ] = 0.0
    streaming: Annotated[
        bool, "Read forwards only, so that words can be recognised, or tagged, while they come."
    ] = False


@dataclass(frozen=True)
class NetworkSettings:
    """`[network]`: the Keras model."""

    kind: Annotated[str, "The network, one of the task's. `auto`: by the task."] = "auto"
    units: Annotated[tuple[int, ...], "The units of each LSTM layer. Empty: by the task."] = ()
    bidirectional: Annotated[bool, "Whether LSTM layers read in both directions."] = False
    activation: Annotated[str, "The LSTM's activation: a name of `keras.activations`."] = "tanh"
    recurrent_activation: Annotated[
        str, "The activation of the gates: a name of `keras.activations`."
    ] = "sigmoid"
    dropout: Annotated[float, "Dropout on the inputs of each LSTM layer."] = 0.0
    recurrent_dropout: Annotated[float, "Dropout on the state of each LSTM layer."] = 0.0
    l1: Annotated[float, "The L1 penalty on the weights of LSTM layers."] = 0.0
    l2: Annotated[float, "The L2 penalty on the weights of LSTM layers."] = 0.0
    activity_l1: Annotated[float, "The L1 penalty on the outputs of LSTM layers."] = 0.0
    activity_l2: Annotated[float, "The L2 penalty on the outputs of LSTM layers."] = 0.0
    normalization: Annotated[
        Literal["none", "batch", "layer"], "The normalization after each LSTM layer."
    ] = "none"
    cell_normalization: Annotated[
        bool,
        "Layer normalization inside each LSTM cell (Ba et al. 2016). The saved model holds a layer "
        "of gatewise, which Keras's own loop runs.",
    ] = False
    pooling: Annotated[
        Literal["auto", "last", "mean", "max", "mean-max", "all", "attention"],
        "How the outputs of all steps become one vector.",
    ] = "auto"
    dense: Annotated[tuple[int, ...], "The units of dense layers behind the LSTM."] = ()
    dense_activation: Annotated[
        str, "The activation of the dense layers: a name of `keras.activations`."
    ] = "relu"
    dense_dropout: Annotated[
        float, "Dropout before each dense layer. -1: 0.3 with segments, else by the task."
    ] = -1.0
    gaussian_noise: Annotated[
        float, "The standard deviation of the noise that training adds to the scaled inputs."
    ] = 0.0
    filters: Annotated[
        tuple[int, ...],
        "The filters of convolutional layers before the LSTM. Empty: by the task; 0: no layer.",
    ] = ()
    kernel_size: Annotated[int, "The steps that a convolution sees."] = 8
    strides: Annotated[int, "The steps from one position of a convolution to the next."] = 4
    asinh_features: Annotated[
        float,
        "Adds to each column the inverse hyperbolic sine of its distance from the sequence's mean, "
        "which resolves movements down to this share of the column's deviation. 0: not added.",
    ] = 0.0
    summary_features: Annotated[
        Literal["auto", "yes", "no"],
        "Adds the summaries that the logistic baseline reads to the output of the LSTM. `auto`: by "
        "the task.",
    ] = "auto"
    segment_length: Annotated[
        int, "The steps of the window that one LSTM step reads. 0: by lookback and horizon."
    ] = 0
    linear: Annotated[bool, "Adds a linear map of the window to the LSTM's forecast."] = True
    subtract: Annotated[
        Literal["auto", "last", "log", "none"],
        "`last`: each window is read relative to its last value; `log`: in logarithms, relative to "
        "that of its last value. `auto`: `log` for ten or more positive series, if ridge on the "
        "window forecasts them better in logarithms; else `last`.",
    ] = "auto"
    embedding_dim: Annotated[
        int, "The size of a token's embedding. 0: by the vocabulary or the units."
    ] = 0
    embedding_dropout: Annotated[float, "Dropout on the embeddings."] = 0.0
    vectors: Annotated[
        str,
        "A file of pretrained word vectors with which the embedding starts: GloVe's text, "
        "fastText's .vec or word2vec's .bin. Prediction does not need it.",
    ] = ""
    weight_dropout: Annotated[
        float, "DropConnect on the recurrent weights of each LSTM layer (Merity et al. 2018)."
    ] = 0.0
    zoneout: Annotated[
        float,
        "The probability with which a unit of h or c keeps its previous value in training (Krueger "
        "et al. 2017). The saved model holds a layer of gatewise, which Keras's own loop runs.",
    ] = 0.0
    sampled_softmax: Annotated[
        int,
        "The negative samples of the sampled softmax in training. 0: the full softmax up to 20,000 "
        "tokens, else 8,192 samples.",
    ] = 0
    character_units: Annotated[
        int, "The units, in each direction, of the LSTM that spells each word. 0: no such LSTM."
    ] = 32
    word_dropout: Annotated[
        float,
        "A word that occurs n times in training is read as unknown with probability w / (w + n), "
        "where w is this number.",
    ] = 0.25
    tied_embeddings: Annotated[
        bool, "Whether the output layer shares the weights of the embedding (Press & Wolf 2017)."
    ] = True
    input_feeding: Annotated[
        bool, "Whether the decoder reads the last attention vector (Luong et al. 2015)."
    ] = False
    build: Annotated[
        str, 'Your own network, as "file.py:function": (shapes, settings) -> keras.Model.'
    ] = ""


@dataclass(frozen=True)
class TrainingSettings:
    """`[training]`: how the network is fitted."""

    quality: Annotated[
        Literal["auto", "fast", "good", "best"],
        "How much training time better scores are worth. `fast`: one network, one test part. "
        "`good`: small sets are cross-validated, several networks are averaged, and other networks "
        "are trained again on everything. `best`: the same with more networks. `auto`: the "
        "environment variable GATEWISE_QUALITY, else `good`.",
    ] = "auto"
    networks: Annotated[
        int,
        "The networks of an ensemble, each from another seed, or in small sets each with another "
        "validation part; with folds, of each fold. 0: by `quality`.",
    ] = 0
    refit: Annotated[
        Literal["auto", "yes", "no"],
        "Whether the network is trained again on all parts, for as many epochs as were best, after "
        "it is judged. `auto`: by `quality`.",
    ] = "auto"
    epochs: Annotated[
        int, "The most passes over the training part. 0: by the number of examples."
    ] = 0
    batch_size: Annotated[
        int,
        "The examples of a batch; for a running text, the streams read side by side. 0: by the "
        "number of examples.",
    ] = 0
    max_tokens: Annotated[
        int,
        "The most steps of a batch, so that batches of long sequences are smaller. 0: no limit.",
    ] = 0
    optimizer: Annotated[str, "A name of `keras.optimizers`."] = "adam"
    learning_rate: Annotated[float, "The learning rate. 0: the optimizer's default."] = 0.0
    optimizer_options: Annotated[dict[str, Any], "Further arguments of the optimizer."] = field(
        default_factory=dict
    )
    schedule: Annotated[
        Literal["constant", "cosine", "exponential", "plateau"],
        "The learning rate schedule. `exponential` ends at a hundredth; `plateau` multiplies the "
        "rate by 0.3 whenever the validation loss stops improving.",
    ] = "constant"
    warmup: Annotated[
        float, "The share of all steps over which the learning rate rises from zero."
    ] = 0.0
    loss: Annotated[str, "`auto`: the loss of the task; else a name of `keras.losses`."] = "auto"
    label_smoothing: Annotated[
        float, "The share of probability that is spread evenly over all labels."
    ] = 0.0
    class_weight: Annotated[
        Literal["none", "balanced"], "`balanced`: every label has the same weight in the loss."
    ] = "none"
    noise: Annotated[
        float, "Training adds noise of up to this share of a recording's own loudness."
    ] = 0.0
    speed_perturbation: Annotated[
        float, "Training plays recordings up to this share faster or slower."
    ] = 0.0
    freq_mask: Annotated[
        int, "Training masks two runs of up to this many mel bands (SpecAugment)."
    ] = 0
    time_mask: Annotated[
        int, "Training masks two runs of up to this many frames (SpecAugment)."
    ] = 0
    rotation: Annotated[
        float,
        "Training turns the vectors of `data.triads` at random; the deviation of the angle about "
        "each axis, in radians.",
    ] = 0.0
    jitter: Annotated[
        float,
        "The standard deviation of the noise that training adds to each step, in deviations of its "
        "column. -1, here and in `scaling` and `time_warping`: by the task and the number of "
        "sequences.",
    ] = -1.0
    scaling: Annotated[
        float,
        "Training multiplies each column of a sequence by a factor around 1 and shifts it; the "
        "deviation of both.",
    ] = -1.0
    time_warping: Annotated[
        float,
        "Training reads each sequence at a changing tempo; the deviation of the shift of a step, "
        "as a share of the length.",
    ] = -1.0
    clipnorm: Annotated[float, "The largest norm of each weight's gradient. 0: no limit."] = 1.0
    clipvalue: Annotated[
        float, "The largest absolute value in a gradient; replaces `clipnorm`. 0: no limit."
    ] = 0.0
    averaging: Annotated[
        Literal["none", "ema", "swa"],
        "Validation and the saved model use averaged weights. `ema`: the exponential moving "
        "average of Keras's optimizers (`use_ema`, with `ema_momentum` of `optimizer_options`); "
        "`swa`: the mean over the ends of the last quarter of the epochs (Izmailov et al. 2018), "
        "before which `patience` does not run out.",
    ] = "none"
    gradient_noise: Annotated[
        float,
        "Each step t adds Gaussian noise with this variance over (1 + t)^0.55 to the clipped "
        "gradients (Neelakantan et al. 2015, who recommend 0.01, 0.3 or 1).",
    ] = 0.0
    monitor: Annotated[
        str,
        "The validation metric that chooses the best epoch: a metric of the task, or `loss`. Equal "
        "epochs are compared by validation loss. `auto`: the metric of the verdict.",
    ] = "auto"
    pretrain: Annotated[
        str,
        "The first layers learn to predict words before the task. `train`: those of the training "
        "part; else a file of more texts, without labels, which come before them.",
    ] = ""
    pretrain_epochs: Annotated[int, "The passes over each set of texts in pretraining."] = 5
    frozen_epochs: Annotated[
        int,
        "The epochs in which `network.vectors` stay as they are, before they are trained, too. -1: "
        "a third of the epochs.",
    ] = -1
    patience: Annotated[
        int,
        "Training stops after this many epochs without a better `monitor`. -1: a sixth of the "
        "epochs, or a third if `quality` is not `fast` and the validation part has fewer than 100 "
        "examples or fewer than 2,000 sentences are tagged, at least 3; 0: never.",
    ] = -1
    seed: Annotated[int, "The same seed gives the same numbers on one machine."] = 0


@dataclass(frozen=True)
class EvaluationSettings:
    """`[evaluation]`: how predictions are scored."""

    metric: Annotated[str, "The metric of the verdict. `auto`: the first metric of the task."] = (
        "auto"
    )
    scaled: Annotated[
        bool, "Whether errors are measured on the scaled values, as papers report them."
    ] = False
    stride: Annotated[
        int,
        "The steps from one forecast origin to the next. 0: the fewest for at most 10,000 origins.",
    ] = 0
    audit: Annotated[
        Literal["auto", "full"],
        "How leaks are looked for. `full`: also by trainings that must fail, with shuffled targets "
        "and, for forecasts with covariates, in reversed time.",
    ] = "auto"
    n_resamples: Annotated[int, "The number of bootstrap resamples."] = 2000
    confidence_level: Annotated[float, "The confidence level of intervals."] = 0.95


@dataclass(frozen=True)
class EngineSettings:
    """`[engine]`: which LSTM kernels run."""

    kind: Annotated[
        Literal["auto", "native", "stock"],
        "`auto`: the kernels of [the engine](engine.md) where they can run; `native`: stop with "
        "the reason where they cannot; `stock`: Keras's own.",
    ] = "auto"
    products: Annotated[
        Literal["float32", "bfloat16", "bfloat16x3"],
        "The precision to which training rounds the operands of matrix products, where that is "
        "faster. `bfloat16x3` splits each operand in two.",
    ] = "float32"


@dataclass(frozen=True)
class ReportSettings:
    """`[report]`: the report on a run."""

    title: Annotated[str, "The title of the report. Empty: task and file."] = ""
    examples: Annotated[int, "The number of forecasts or mistakes to show."] = 6


@dataclass(frozen=True)
class Experiment:
    """All settings of one run, by section."""

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
        """A copy with these keys of one section replaced."""
        return replace(self, **{section: replace(getattr(self, section), **values)})


# A preparation that was saved keeps within these as well (`data/bounds.py`).
MOST_STEPS = 10**8  # of a window; a day of a thousand steps a second
MOST_RATE = 10**7  # samples per second
MOST_BEAMS = 1000

# Lower and upper limits of numbers. Other numbers must not be negative.
LIMITS: dict[str, tuple[float, float]] = {
    "network.units": (1, math.inf),
    "network.dropout": (0, 1),
    "network.embedding_dropout": (0, 1),
    "network.weight_dropout": (0, 1),
    "network.zoneout": (0, 1),
    "network.dense_dropout": (-1, 1),
    "network.recurrent_dropout": (0, 1),
    "network.dense": (1, math.inf),
    "network.kernel_size": (1, math.inf),
    "network.strides": (1, MOST_STEPS),
    "training.warmup": (0, 1),
    "training.label_smoothing": (0, 1),
    "training.rotation": (0, math.pi),
    "training.speed_perturbation": (0, 0.5),
    **dict.fromkeys(
        ("task.horizon", "task.lookback", "task.season", "task.window", "task.stride"),
        (0, MOST_STEPS),
    ),
    "task.beam_size": (0, MOST_BEAMS),
    "preparation.max_length": (0, MOST_STEPS),
    "preparation.bigrams": (-1, MOST_STEPS),
    "data.sample_rate": (0, MOST_RATE),
    "data.skip_rows": (-1, math.inf),
    "data.footer_rows": (-1, math.inf),
    "preparation.n_mels": (1, math.inf),
    "preparation.frame_length": (1, 60_000),
    "preparation.hop_length": (1, 60_000),
    "training.jitter": (-1, math.inf),
    "training.scaling": (-1, math.inf),
    "training.time_warping": (-1, 1),
    "training.patience": (-1, math.inf),
    "training.frozen_epochs": (-1, math.inf),
    "training.pretrain_epochs": (1, math.inf),
    "training.seed": (0, 2**32 - 1),
    "split.seed": (0, 2**32 - 1),
    "evaluation.n_resamples": (1, math.inf),
    "evaluation.confidence_level": (0, 1),
}


HOLDING = {"numbers": "numbers", "text": "texts", "tokens": "tokens", "sound": "recordings"}


def names(**sections: str) -> frozenset[str]:
    """The full names of settings, from the keys of each section.

    >>> sorted(names(task="horizon season", data="target"))
    ['data.target', 'task.horizon', 'task.season']
    """
    full = {f"{section}.{key}" for section, keys in sections.items() for key in keys.split()}
    known = {f"{section}.{key}" for section, keys in asdict(Experiment()).items() for key in keys}
    assert full <= known, full - known
    return frozenset(full)


def layer_of(settings: Any) -> Mapping[str, Any]:
    """The sections and keys of a mapping or a TOML file, without defaults.

    Raises:
        ConfigError: `settings` is neither, or the file is missing or not TOML.
    """
    if isinstance(settings, Mapping):
        return settings
    if not isinstance(settings, str | os.PathLike):
        raise ConfigError(
            "Settings must be a mapping of sections, such as {'training': {'epochs': 3}}, or the "
            f"path of a TOML file. Received: {shown(settings)}."
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


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Layers of sections as one mapping; later layers override earlier ones.

    >>> merged([{"task": {"horizon": 3}}, {"task": {"lookback": 9}}])
    {'task': {'horizon': 3, 'lookback': 9}}
    """
    content: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(
                    f"[{section}] must hold keys and values. Received: {shown(values)}."
                )
            content[section] = {**content.get(section, {}), **values}
    return content


def from_mapping(given: Mapping[str, Any], base: Experiment | None = None) -> Experiment:
    """Replace keys of `base` (by default: of the default settings) with the given ones.

    >>> from_mapping({"training": {"epochs": 3}}).training.epochs
    3
    """
    experiment = base or Experiment()
    for section, values in given.items():
        known = [one.name for one in fields(Experiment)]
        if section not in known and not isinstance(values, Mapping):
            within = [one for one in known if hasattr(getattr(experiment, one), section)]
            there = " or ".join(f"{one}.{section}" for one in within)
            hint = f"It belongs to a section: {there}." if within else _hint(section, known)
            raise ConfigError(f"{section!r} stands outside a section. {hint}")
        if section not in known:
            raise ConfigError(f"There is no section [{section}]. {_hint(section, known)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"[{section}] must hold keys and values. Received: {shown(values)}.")
        current = getattr(experiment, section)
        experiment = replace(experiment, **{section: _section(section, current, values)})
    return experiment


def shown(value: Any) -> str:
    """A value in a message, on one line and cut where it is long.

    >>> shown("abc"), len(shown(list(range(1000))))
    ("'abc'", 64)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]} ..."


def assignment(text: str) -> tuple[str, str, Any]:
    """Split `section.key=value` into its parts; the value is parsed as TOML, else a string.

    >>> assignment("network.units=[32, 16]"), assignment("data.time=day")
    (('network', 'units', [32, 16]), ('data', 'time', 'day'))
    """
    name, equals, written = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"--set must be section.key=value. Received: {text!r}.")
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, written.strip()
    # A column may have the name 1.10, which must not become the number 1.1.
    as_written = _wants_text(section, key) and not isinstance(value, str | list)
    return section, key, written.strip() if as_written else value


def _wants_text(section: str, key: str) -> bool:
    """True if this key holds a string or strings."""
    kinds = typing.get_type_hints(type(getattr(Experiment(), section, None)))
    return kinds.get(key) in (str, tuple[str, ...])


def to_toml(experiment: Experiment) -> str:
    """The full experiment as TOML, the inverse of `from_mapping(tomllib.loads(...))`."""
    return tomli_w.dumps(asdict(experiment))


def _section(section: str, current: Any, given: Mapping[str, Any]) -> Any:
    kinds = typing.get_type_hints(type(current))
    for key in given:
        if key not in kinds:
            raise ConfigError(f"[{section}] has no key '{key}'. {_hint(key, kinds)}")
    values = {key: _value(f"{section}.{key}", kinds[key], value) for key, value in given.items()}
    return replace(current, **values)


def _value(name: str, kind: Any, value: Any) -> Any:
    """`value` converted to the type of the field.

    Raises:
        ConfigError: the value has another type, or is out of range.
    """
    origin = typing.get_origin(kind)
    if origin is Literal:
        choices = typing.get_args(kind)
        if isinstance(value, bool) and {"yes", "no"} <= set(choices):
            return "yes" if value else "no"
        if value not in choices:
            raise ConfigError(
                f"{name} must be one of {', '.join(choices)}. Received: {shown(value)}."
            )
        return value
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        single = [] if value == "" else [value]
        listed = value if isinstance(value, list | tuple) else single
        return tuple(_value(name, inner, one) for one in listed)
    if origin is dict:
        return _table(name, value)
    if kind is str:
        return _text(name, value)
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false. Received: {shown(value)}.")
        return value
    return _number(name, kind, value)


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a table of keys and values. Received: {shown(value)}.")
    try:
        tomli_w.dumps(value)
    except TypeError:
        raise ConfigError(f"{name} cannot be saved as TOML. Received: {shown(value)}.") from None
    return dict(value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, str) or (isinstance(value, Real) and not isinstance(value, bool)):
        return str(value)
    raise ConfigError(f"{name} must be text. Received: {shown(value)}.")


def _number(name: str, kind: Any, value: Any) -> Any:
    """A finite number within its limits; NumPy numbers are accepted."""
    expected, words = (Integral, "a whole number") if kind is int else (Real, "a number")
    if not isinstance(value, expected) or isinstance(value, bool) or not _is_finite(value):
        raise ConfigError(f"{name} must be {words}. Received: {shown(value)}.")
    least, most = LIMITS.get(name, (0, math.inf))
    if not least <= float(value) <= most:
        limit = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        raise ConfigError(f"{name} must be {limit}. Received: {shown(value)}.")
    return kind(value)


def _is_finite(value: Real) -> bool:
    """Whether a number is finite, and not too large for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _hint(name: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(name), list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."

"""Settings of a run: every default is filled in, and the saved file gives the same run again."""

import json
import re
import tomllib

import keras
import numpy as np
import polars as pl
import pytest
import soundfile

from gatewise.arguments import experiment_for
from gatewise.data.batches import plan
from gatewise.errors import ConfigError
from gatewise.networks import build, loading
from gatewise.settings import from_mapping, to_toml
from gatewise.training.ready import compile_network, make_ready, objective

WORDS = ("red", "green", "blue", "yellow", "a", "the")
TAGS = ("A", "A", "A", "A", "D", "D")
SOUND = {
    "preparation": {"n_mels": 8, "hop_length": 20.0, "frame_length": 32.0},
    "data": {"pattern": "{label}-{k}"},
}


def sentences(count, random):
    return [random.choice(WORDS, size=random.integers(3, 8)).tolist() for _ in range(count)]


@pytest.fixture(scope="module")
def small(tmp_path_factory, series_file, sequences_file):
    """For each task and each kind of data that it reads: a file and the settings that it needs."""
    folder, random = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    texts = [" ".join(one) for one in sentences(60, random)]
    labels = ["even", "rare", *["odd", "even"] * 29]
    pl.DataFrame({"text": texts, "label": labels}).write_csv(folder / "texts.csv")
    pl.DataFrame({"en": texts, "de": [one.upper() for one in texts]}).write_csv(
        folder / "pairs.csv"
    )
    (folder / "plain").mkdir()
    for k in range(6):
        text = "\n".join(texts[10 * k : 10 * k + 10])
        (folder / "plain" / f"{k}.txt").write_text(text, encoding="utf-8")
    rows = [
        "\n".join(f"{word}\t{TAGS[WORDS.index(word)]}" for word in one) + f"\nOnce{k}\tA"
        for k, one in enumerate(sentences(60, random))
    ]
    (folder / "tags.conll").write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    for k in range(1, 42):
        place = folder / "sounds" / f"{['ab', 'ba'][k % 2] if k < 41 else 'abba'}-{k}.wav"
        place.parent.mkdir(exist_ok=True)
        samples = random.integers(-5000, 5000, size=random.integers(3000, 5000))
        soundfile.write(place, samples.astype(np.int16), 8000)
    walks = pl.read_csv(sequences_file).with_columns(z=pl.col("x") - pl.col("y"), still=pl.lit(1.0))
    rare = walks.head(4).with_columns(id=pl.lit("rare"), label=pl.lit("rare"))
    pl.concat([walks, rare]).write_csv(folder / "walks.csv")
    pl.read_csv(series_file).with_columns(still=pl.lit(1.0)).write_csv(folder / "loads.csv")
    forecast = {"data": {"target": ["load"], "past": ["still"]}}
    short = forecast | {"task": {"horizon": 4, "lookback": 8}, "network": {"kind": "stack"}}
    rare = {"split": {"rare_labels": "train"}}
    pl.DataFrame({"text": texts, "stars": [k / 7 for k in range(60)]}).write_csv(
        folder / "stars.csv"
    )
    numbers = {"data": {"target": ["stars"]}}
    long = [
        {"id": f"s{k}", "x": random.normal(), "z": random.normal(), "wear": k / 7, "load": step + k}
        | {"still": 1.0}
        for k in range(60)
        for step in range(random.integers(4, 9))
    ]
    pl.DataFrame(long).write_csv(folder / "runs.csv")
    with (folder / "heard.csv").open("w") as file:
        file.write("path,stars\n")
        file.writelines(
            f"sounds/{path.name},{k / 7}\n"
            for k, path in enumerate(sorted((folder / "sounds").iterdir()))
        )
    return {
        "forecast by segments": ("forecast", folder / "loads.csv", forecast),
        "forecast by stack": ("forecast", folder / "loads.csv", short),
        "detect": (
            "detect",
            folder / "loads.csv",
            {"data": {"features": ["load", "still"]}, "split": {"validation": 25}},
        ),
        "classify numbers": (
            "classify",
            folder / "walks.csv",
            rare | {"data": {"triads": [["x", "y", "z"]]}},
        ),
        "classify texts": ("classify", folder / "texts.csv", rare),
        "classify sound": ("classify", folder / "sounds", SOUND | rare),
        "regress numbers": ("regress", folder / "runs.csv", {"data": {"target": ["wear"]}}),
        "regress each step": ("regress", folder / "runs.csv", {"data": {"target": ["load"]}}),
        "regress texts": ("regress", folder / "stars.csv", numbers),
        "regress sound": (
            "regress",
            folder / "heard.csv",
            {"preparation": SOUND["preparation"], **numbers},
        ),
        "tag": ("tag", folder / "tags.conll", {}),
        "language": ("language", folder / "plain", {}),
        "translate": ("translate", folder / "pairs.csv", {"data": {"label": "de"}}),
        "transcribe": ("transcribe", folder / "sounds", SOUND),
    }


CASES = (
    *("forecast by segments", "forecast by stack", "detect", "classify numbers"),
    "classify texts",
    *("classify sound", "regress numbers", "regress each step", "regress texts", "regress sound"),
    *("tag", "language", "translate", "transcribe"),
)


def ready_for(small, case):
    task, path, settings = small[case]
    experiment, source = experiment_for(str(path), [settings, {"task": {"name": task}}])
    return make_ready(experiment, source)


# The values that mean "not given", wherever these settings are used.
NOT_GIVEN = {
    "network.units": (),
    "network.dense_dropout": -1.0,
    "training.epochs": 0,
    "training.batch_size": 0,
    "training.learning_rate": 0.0,
    "training.patience": -1,
}
NOT_GIVEN_OF = {
    "forecast": {"task.horizon": 0, "task.lookback": 0, "task.season": 0, "task.stride": 0},
    "forecast by segments": {"network.segment_length": 0, "network.kind": "auto"},
    "forecast by stack": {"network.pooling": "auto", "network.subtract": "auto"},
    "detect": {"task.horizon": 0, "task.lookback": 0, "task.season": 0, "network.kind": "auto"}
    | {"training.monitor": "auto", "training.refit": "auto"},
    "classify": {"network.kind": "auto", "network.pooling": "auto"},
    "classify texts": dict.fromkeys(("preparation.max_length", "network.embedding_dim"), 0)
    | {
        "preparation.tokenizer": "auto",
        "preparation.vocabulary_size": 0,
        "preparation.min_frequency": 0,
        "preparation.bigrams": -1,
    },
    "classify sound": {"data.sample_rate": 0},
    "regress": {"network.kind": "auto", "data.target_per": "auto"},
    "regress numbers": {"network.pooling": "auto"},
    "regress texts": dict.fromkeys(("preparation.max_length", "network.embedding_dim"), 0),
    "regress sound": {"data.sample_rate": 0, "network.pooling": "auto"},
    "tag": dict.fromkeys(
        ("preparation.max_length", "preparation.vocabulary_size", "preparation.min_frequency"), 0
    )
    | {"network.embedding_dim": 0, "network.kind": "auto"},
    "language": {
        "preparation.tokenizer": "auto",
        "preparation.vocabulary_size": 0,
        "task.lookback": 0,
    }
    | {"preparation.min_frequency": 0, "network.embedding_dim": 0},
    "translate": {
        "preparation.tokenizer": "auto",
        "preparation.vocabulary_size": 0,
        "task.beam_size": 0,
    }
    | {"preparation.min_frequency": 0, "preparation.max_length": 0, "network.embedding_dim": 0},
    "transcribe": {"task.beam_size": 0, "data.sample_rate": 0},
}


@pytest.mark.parametrize("case", CASES)
def test_every_default_is_filled_in_and_the_saved_settings_give_the_same_run(small, case):
    ready = ready_for(small, case)
    task = small[case][0]
    for name, value in (
        NOT_GIVEN | NOT_GIVEN_OF.get(task, {}) | NOT_GIVEN_OF.get(case, {})
    ).items():
        section, key = name.split(".")
        assert getattr(getattr(ready.experiment, section), key) != value, name
    saved = from_mapping(tomllib.loads(to_toml(ready.experiment)))
    again = make_ready(saved)
    assert again.experiment == ready.experiment == saved
    assert again.preparation.to_json() == ready.preparation.to_json()
    for one, other in ((again.train, ready.train), (again.test, ready.test)):
        assert one.lengths.tolist() == other.lengths.tolist()
    weights = [one.network.get_weights() for one in (again, ready)]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
    rates = []
    for one in (again, ready):
        compile_network(one.network, one)
        rates.append(keras.ops.convert_to_numpy(one.network.optimizer.learning_rate))
    assert rates[0] == rates[1] > 0


# For each setting that not every run has: another value than the default, and what it requires.
# Settings of [data] name columns and repairs; the tests of the readers cover them.
OTHER = {
    "split.by": "random",
    "split.rare_labels": "drop",
    "split.seed": 1,
    "split.test_ids": "[05]",
    "preparation.scale": "minmax",
    "preparation.scale_by": "all",
    "preparation.constant_columns": "keep",
    "preparation.handle_unknown": "error",
    "preparation.calendar": ["none"],
    "preparation.tokenizer": "whitespace",
    "preparation.vocabulary_size": 5,
    "preparation.min_frequency": 60,
    "preparation.lowercase": False,
    "preparation.max_length": 5,
    "preparation.truncation": "start",
    "preparation.bigrams": 7,
    "preparation.shared_vocabulary": False,
    "preparation.n_mels": 5,
    "preparation.frame_length": 40.0,
    "preparation.hop_length": 25.0,
    "preparation.punctuation": True,
    "task.horizon": 3,
    "task.lookback": 5,
    "task.season": 5,
    "task.quantiles": [0.2, 0.5],
    "task.transform": "power",
    "task.floor": "zero",
    "task.false_alarms": 0.1,
    "task.window": 3,
    "task.stride": 2,
    "task.blend": "logistic",
    "task.lm_order": 2,
    "task.lm_weight": 0.3,
    "task.streaming": True,
    "network.units": [6],
    "network.bidirectional": True,
    "network.activation": "relu",
    "network.recurrent_activation": "hard_sigmoid",
    "network.dropout": 0.2,
    "network.recurrent_dropout": 0.2,
    "network.l1": 0.1,
    "network.l2": 0.1,
    "network.activity_l1": 0.1,
    "network.activity_l2": 0.1,
    "network.normalization": "layer",
    "network.pooling": "max",
    "network.dense": [5],
    "network.dense_activation": "tanh",
    "network.dense_dropout": 0.2,
    "network.gaussian_noise": 0.2,
    "network.filters": [4],
    "network.kernel_size": 3,
    "network.strides": 2,
    "network.asinh_features": 0.2,
    "network.summary_features": True,
    "network.segment_length": 2,
    "network.linear": False,
    "network.subtract": "none",
    "network.embedding_dim": 6,
    "network.embedding_dropout": 0.2,
    "network.weight_dropout": 0.2,
    "network.zoneout": 0.2,
    "network.cell_normalization": True,
    "network.sampled_softmax": 5,
    "network.character_units": 5,
    "network.word_dropout": 0.9,
    "network.tied_embeddings": False,
    "network.input_feeding": True,
    "training.loss": "mse",
    "training.label_smoothing": 0.2,
    "training.class_weight": "balanced",
    "training.noise": 0.2,
    "training.speed_perturbation": 0.2,
    "training.freq_mask": 3,
    "training.time_mask": 3,
    "training.max_tokens": 9,
    "task.beam_size": 3,
    "task.length_penalty": 0.3,
    "training.rotation": 0.2,
    "training.jitter": 0.1,
    "training.scaling": 0.1,
    "training.time_warping": 0.1,
    "evaluation.scaled": True,
    "evaluation.stride": 2,
}
# Settings that some others need to have an effect.
WITH = {
    "task.lm_weight": "task.lm_order",
    "preparation.truncation": "preparation.max_length",
    "task.length_penalty": "task.beam_size",
}
# Covered by other tests; vectors need a file.
ELSEWHERE = {"network.vectors", "training.frozen_epochs"}
ELSEWHERE |= {"training.pretrain", "training.pretrain_epochs"}  # tests/training/test_pretraining.py
ELSEWHERE |= {
    "split.folds",
    "training.networks",
}  # several networks: tests/judging/test_folding.py, test_seeds.py
# Fixed by the task: resolve fills in the only possible value.
FIXED = {"tag": {"network.bidirectional"}, "translate": {"network.bidirectional"}}
FIXED["transcribe"] = {"network.bidirectional"}
FIXED["regress each step"] = {"task.blend"}


def as_given(*names):
    """These settings at their other values, one layer each."""
    return [{name.split(".")[0]: {name.split(".")[1]: OTHER[name]}} for name in names]


def ready_with(small, case, layers):
    task, path, own = small[case]
    few = {"training": {"epochs": 2, "batch_size": 8}, "network": {"units": [4]}}
    blend = {"task": {"blend": "ridge"}}  # what numbers are blended with
    if task == "language":
        blend = {"task": {"blend": "ngrams"}}
    if task in ("forecast", "regress", "language"):
        layers = [blend if one == as_given("task.blend")[0] else one for one in layers]
    layers = [few, own, *layers, {"task": {"name": task}}]
    return make_ready(*experiment_for(str(path), layers))


def consequences(ready):
    """Everything that the settings determine before the first training step, and the loss."""
    train, preparation, settings = ready.train, ready.preparation, ready.experiment.training
    padded = preparation.padded
    dealt = plan(train.lengths, settings.batch_size, padded=padded, steps=settings.max_tokens)
    measures = ready.task.measures(ready.test, preparation, ready.experiment)
    truth = np.asarray(train.targets(*dealt[0]))
    return repr(
        {
            "parts": [(part.ids, part.starts) for part in vars(ready.splits).values() if part],
            "preparation": preparation.to_json(),
            "batch": [dealt[0], train.inputs(*dealt[0]), truth, train.weights],
            "test": [len(ready.test), [one.name for one in measures]],
            "network": layers_of(ready.network),
            "weights": [one.shape for one in ready.network.get_weights()],
        }
    )


def layers_of(network):
    """Each layer and its settings, without the numbers that Keras appends to names."""
    found = [settings_of(one) for one in network._flatten_layers() if one is not network]
    return re.sub(r'_\d+"|0x\w+', '"', json.dumps(found, default=repr))


def settings_of(layer):
    numbers = {key: one for key, one in vars(layer).items() if isinstance(one, int | float)}
    try:
        return layer.get_config() | numbers
    except NotImplementedError:  # a layer for training only, which is never saved
        return numbers


def cost(ready):
    """The loss of random outputs."""
    truth = np.asarray(ready.train.targets(np.arange(4), int(ready.train.lengths[:4].max())))
    shapes = ready.task.shapes(ready.train, ready.preparation)
    shape = shapes.output
    axes = truth.shape if len(shape) == 1 else truth.shape[: 2 if shapes.per_step else 1]
    answer = np.random.default_rng(0).random((*axes, *shape)).astype(np.float32)
    _, loss, _ = objective(ready.experiment, ready.preparation, ready.train)
    return float(
        np.mean(loss(keras.ops.convert_to_tensor(truth), keras.ops.convert_to_tensor(answer)))
    )


def answers(ready):
    """What the untrained network predicts for the test part, and its scores."""
    task, test, preparation = ready.task, ready.test, ready.preparation
    outputs = task.network.predict(ready.network, test, preparation, ready.experiment)
    state = task.fit_baselines(ready.train, ready.validation, preparation)
    predictions = task.postprocess(outputs, test, preparation, state)
    return repr((outputs, task.metrics(predictions, test, preparation, ready.experiment)))


def rebuilt(ready, layers):
    """The layers of the network with other settings of `[network]`."""
    experiment = ready.experiment
    for layer in layers:
        experiment = from_mapping(layer, experiment)
    task, shapes = ready.task, ready.task.shapes(ready.train, ready.preparation)
    with loading._undrawn():  # no weight is compared, only their shapes
        network = build(shapes, experiment.network, network=task.network, task=task.name)
    return layers_of(network), [one.shape for one in network.get_weights()]


@pytest.mark.parametrize("case", CASES)
def test_every_setting_of_a_run_changes_what_is_built_or_is_refused(small, case):
    plain = ready_with(small, case, [])
    task, kind = plain.task, plain.preparation.kind
    builder = plain.experiment.network.kind if len(task.network.builders) > 1 else ""
    names = task.settings[kind] | task.network.settings(builder, kind)
    names = {name for name in names if not name.startswith("data.")}
    names -= ELSEWHERE | FIXED.get(task.name, set()) | FIXED.get(case, set())
    needs = WITH | task.needs | task.network.needs
    if case == "language":  # only then are whole texts distributed
        needs |= dict.fromkeys(("split.seed", "split.test_ids"), "split.by")
    usual, network = consequences(plain), rebuilt(plain, [])
    again = ready_with(small, case, [])  # what is compared depends on nothing but the settings
    assert (consequences(again), answers(again)) == (usual, answers(plain))
    unchanged, refused = [], set()
    for name in sorted(names):
        needed = as_given(needs[name]) if name in needs else []
        try:
            if name.startswith("network."):
                before = rebuilt(plain, needed) if needed else network
                if rebuilt(plain, needed + as_given(name)) != before:
                    continue
            changed = ready_with(small, case, needed + as_given(name))
        except ConfigError:
            refused.add(name)
            continue
        before = ready_with(small, case, needed) if needed else plain
        if name in ("training.loss", "training.label_smoothing"):
            same = cost(changed) == cost(before)
        else:
            same = consequences(changed) == (consequences(before) if needed else usual)
        if same and answers(changed) == answers(before):
            unchanged.append(name)
    assert unchanged == []
    assert refused == set()

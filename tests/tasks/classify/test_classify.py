"""Labels: classes, masks, calibrated probabilities, and refusals."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gatewise import metrics
from gatewise.baselines.logistic import fit_logistic
from gatewise.baselines.logistic import logistic as by_regression
from gatewise.baselines.summaries import summaries
from gatewise.data import tokens
from gatewise.data.batches import PADDING
from gatewise.data.sequences import from_arrays, from_texts, texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, from_mapping
from gatewise.tasks.classify import task as classify
from gatewise.tasks.classify.baselines import LOGISTIC

PLAIN = from_mapping({"task": {"name": "classify"}, "training": {"quality": "fast"}})


def own_with(preparation, **values):
    """The preparation with other values of the task's own part."""
    return replace(preparation, own=replace(preparation.own, **values))


def walks(count=12, classes=("a", "b"), *, lengths=(4, 9), columns=2, seed=0):
    random = np.random.default_rng(seed)
    arrays = [
        random.normal(size=(random.integers(*lengths), columns)) + k % len(classes)
        for k in range(count)
    ]
    return from_arrays(arrays, labels=np.array([classes[k % len(classes)] for k in range(count)]))


def test_classes_are_the_labels_of_training_in_order():
    preparation, _ = classify.prepare(walks(classes=("b", "日本", "a")), PLAIN)
    assert preparation.own.classes == ("a", "b", "日本")


def test_steps_are_scaled_columns_and_padding_is_marked():
    sequences = walks()
    preparation, _ = classify.prepare(sequences, PLAIN)
    assert preparation.padded
    some = classify.examples(sequences, preparation, PLAIN, "train")
    given = some.inputs(np.arange(12), 10)["steps"]
    mean, spread = sequences.values.mean(axis=0), sequences.values.std(axis=0)
    for k, steps in enumerate(sequences):
        np.testing.assert_allclose(given[k, : len(steps)], (steps - mean) / spread, atol=1e-5)
        assert (given[k, len(steps) :] == PADDING).all()
    assert classify.shapes(some, preparation).padding == PADDING


def test_equal_lengths_need_no_mask():
    sequences = walks(lengths=(5, 6))
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "train")
    assert classify.shapes(some, preparation).padding is None
    assert classify.shapes(some, preparation).inputs == {"steps": (5, 2)}


def test_image_rows_are_scaled_together_and_keep_their_dark_columns():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(10, 4, 3)).astype(np.uint8)
    images[..., 0] = 0
    images[0, 0, 1] = 255
    sequences = from_arrays(list(images), labels=np.array(["0", "1"] * 5))
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "train")
    given = some.inputs(np.arange(10), 4)["steps"]
    np.testing.assert_allclose(given, images / 255, atol=1e-6)


def test_a_constant_column_is_dropped_with_a_note():
    sequences = walks(columns=3)
    sequences.values[:, 1] = 7.0
    preparation, notes = classify.prepare(sequences, PLAIN)
    assert preparation.used == ("x0", "x2")
    assert any("x1" in note for note in notes)
    some = classify.examples(sequences, preparation, PLAIN, "train")
    assert some.inputs(np.arange(3), 9)["steps"].shape == (3, 9, 2)
    kept, _ = classify.prepare(sequences, PLAIN.having("preparation", constant_columns="keep"))
    assert kept.used == ("x0", "x1", "x2")
    with pytest.raises(DataError, match="'x1' never changes"):
        classify.prepare(sequences, PLAIN.having("preparation", constant_columns="error"))


def test_constant_columns_only_are_refused():
    sequences = walks()
    sequences.values[:] = 1.0
    with pytest.raises(DataError, match="no column ever changes"):
        classify.prepare(sequences, PLAIN)


def test_numbers_as_labels_may_be_ratings_and_a_note_says_so():
    _, notes = classify.prepare(walks(classes=("1", "10", "2")), PLAIN)
    assert "the 3 labels are numbers from 1 to 10" in notes[0] and "--task regress" in notes[0]
    for classes in (("0", "1"), ("a", "b", "1")):
        assert classify.prepare(walks(classes=classes), PLAIN)[1] == []


def test_a_single_label_is_refused():
    with pytest.raises(DataError, match="every training sequence has the label 'a'"):
        classify.prepare(walks(classes=("a",)), PLAIN)


def test_a_label_not_seen_in_training_is_refused_by_name():
    preparation, _ = classify.prepare(walks(), PLAIN)
    with pytest.raises(DataError, match="sequence '2' has the label 'c'"):
        classify.examples(walks(classes=("a", "b", "c")), preparation, PLAIN, "test")


def test_long_sequences_are_cut_into_windows_that_stay_in_one_cluster():
    chosen = PLAIN.having("task", window=4, stride=2)
    sequences = from_arrays(
        [np.random.default_rng(k).normal(size=(10, 1)) for k in range(4)],
        labels=np.array(["a", "b"] * 2),
    )
    preparation, _ = classify.prepare(sequences, chosen)
    some = classify.examples(sequences, preparation, chosen, "test")
    assert len(some) == 4 * 4
    assert some.source.ids[:4].tolist() == ["0@0", "0@2", "0@4", "0@6"]
    clusters = classify.measures(some, preparation, chosen)[0].clusters
    assert clusters.tolist() == np.repeat(np.arange(4), 4).tolist()


def test_sequences_of_one_group_are_a_cluster():
    sequences = replace(walks(), groups=np.array(["anna", "ben", "anna", "ben"] * 3))
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "test")
    clusters = classify.measures(some, preparation, PLAIN)[0].clusters
    assert clusters.tolist() == [0, 1, 0, 1] * 3


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_the_temperature_calibrates_the_probabilities(true_temperature):
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(3000, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) < random.random((3000, 1))).sum(axis=1)
    sequences = from_arrays(list(random.normal(size=(3000, 2, 1))), labels=labels.astype(str))
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "validation")
    overconfident = (logits * true_temperature).astype(np.float32)
    found = classify.calibrate(preparation, overconfident, some)
    assert found.own.temperature == pytest.approx(true_temperature, rel=0.1)
    answer = classify.postprocess(overconfident, some, found, {})
    np.testing.assert_allclose(answer.sum(axis=1), 1)
    assert metrics.expected_calibration_error(labels, answer) < 0.04


def test_an_answer_without_probabilities_has_no_probability_metrics():
    sequences = walks()
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "test")
    scores = classify.score(np.eye(2)[[0, 1] * 6], some, preparation, PLAIN)
    assert scores["accuracy"] == 1.0
    assert np.isnan([scores["roc_auc"], scores["log_loss"], scores["ece"]]).all()


def test_the_resampled_macro_f1_is_the_metric():
    sequences = walks(30, classes=("a", "b", "c"))
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "test")
    given = np.random.default_rng(0).dirichlet(np.ones(3), size=30)
    _, measure = classify.measures(some, preparation, PLAIN)
    value = measure.value(measure.statistics(given).sum(axis=0))
    truth = classify.labels_of(some, preparation)
    assert value == pytest.approx(metrics.f1_macro(truth, given.argmax(axis=1)))


def test_the_table_keeps_ids_and_gives_each_class_a_probability():
    sequences = walks(4, classes=("größer", "日本"))
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "test")
    given = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    table = classify.table(given, some, preparation, np.array([2, 0]))
    assert table["id"].to_list() == ["2", "0"]
    assert table["label"].to_list() == ["日本", "größer"]
    assert table["truth"].to_list() == ["größer", "größer"]
    assert table["p(größer)"].to_list() == [0.3, 0.9]


TRIADS = (("x0", "x1", "x2"), ("x6", "x4", "x5"))


def turned(sequences, *, rotation=0.2, seed=0, role="train", epochs=1):
    """The steps of all sequences, [sequences, longest, columns]: in their units, and as inputs."""
    chosen = PLAIN.having("data", triads=TRIADS).having("training", rotation=rotation, seed=seed)
    chosen, _ = classify.resolve(chosen, sequences, sequences)
    preparation, _ = classify.prepare(sequences, chosen)
    some = classify.examples(sequences, preparation, chosen, role)
    for _ in range(epochs):
        given = some.inputs(np.arange(len(sequences)), int(sequences.lengths.max()))["steps"]
    scale = preparation.scale
    return given * scale.spread[0] + scale.centre[0], given


def sensors(count=12, **given):
    """Two sensors of three columns and one column between them, each in its own units."""
    sequences = walks(count, columns=7, **given)
    sequences.values[:] *= [1, 2, 3, 50, 0.1, 0.2, 0.3]
    sequences.values[:] += [0, 0, 9.8, 0, 0, 0, 0]
    return sequences


def test_a_rotation_keeps_the_length_of_every_vector_and_every_other_column():
    sequences = sensors()
    found, fed = turned(sequences)
    for k, steps in enumerate(sequences):
        real = found[k, : len(steps)]
        for triad in ([0, 1, 2], [6, 4, 5]):
            before, after = steps[:, triad], real[:, triad]
            lengths = (np.linalg.norm(one, axis=1) for one in (before, after))
            np.testing.assert_allclose(*lengths, rtol=1e-4)
            assert not np.allclose(before, after, rtol=1e-2)
        np.testing.assert_allclose(real[:, 3], steps[:, 3], rtol=1e-4)
        assert (fed[k, len(steps) :] == PADDING).all()


def turns(sequences, found):
    """The rotation of each triad of each sequence, [sequences, triads, 3] in radians."""
    pairs = [(steps, found[k, : len(steps)]) for k, steps in enumerate(sequences)]
    fitted = [
        [Rotation.align_vectors(after[:, t], before[:, t]) for t in ([0, 1, 2], [6, 4, 5])]
        for before, after in pairs
    ]
    assert max(left for row in fitted for _, left in row) < 1e-2, "it is a rotation"
    return np.array([[one.as_rotvec() for one, _ in row] for row in fitted])


def test_all_triads_of_a_sequence_turn_alike_and_sequences_differ():
    sequences = sensors(400, lengths=(6, 9))
    found = turns(sequences, turned(sequences, rotation=0.2)[0])
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=2e-3)
    # From 400 numbers the deviation is known to a tenth, the mean to a twentieth of it.
    np.testing.assert_allclose(found[:, 0].std(axis=0), 0.2, rtol=0.15)
    np.testing.assert_allclose(found[:, 0].mean(axis=0), 0, atol=0.04)


def test_every_epoch_turns_anew_and_the_same_seed_turns_alike():
    first, again, later, other = (
        turned(sensors(), **given)[0] for given in ({}, {}, {"epochs": 2}, {"seed": 1})
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, later)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("role", ["validation", "test", "predict"])
def test_only_the_training_part_is_turned(role):
    sequences = sensors()
    found, _ = turned(sequences, role=role)
    for k, steps in enumerate(sequences):
        np.testing.assert_allclose(found[k, : len(steps)], steps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("triads", "wanted"),
    [
        ((), r"rotation is 0\.2, but data\.triads names no columns to rotate.*data\.triads = \[\["),
        ((("x0", "x1"),), r"three different columns.*Received: \['x0', 'x1'\]"),
        ((("x0", "x1", "x1"),), r"three different columns.*Received: \['x0', 'x1', 'x1'\]"),
        ((("x0",), ("x1",), ("x2",)), r"a list of three different columns.*Received: \['x0'\]"),
        (
            (("x0", "x1", "up"),),
            r"'up', which is not a feature\. The features are x0, x1.*data\.features",
        ),
        ((("x0", "x1", "x2"), ("x2", "x3", "x4")), r"'x2' in two triads"),
    ],
)
def test_a_rotation_without_three_columns_each_is_refused_with_a_remedy(triads, wanted):
    chosen = PLAIN.having("data", triads=triads).having("training", rotation=0.2)
    with pytest.raises(ConfigError, match=wanted):
        classify.resolve(chosen, sensors(), sensors())


def test_a_regression_on_the_steps_tells_orders_apart_that_summaries_cannot():
    random = np.random.default_rng(0)
    up = np.array([0.0, -2, -1, 1, 2, 0])  # both classes have the same values and changes
    steps = np.where(np.arange(200)[:, None] % 2, up, up[::-1]) + random.normal(size=(200, 6)) / 9
    labels = np.array(["down", "up"] * 100, dtype=object)
    sequences = from_arrays([*steps[..., None]], labels=labels)
    preparation, _ = classify.prepare(sequences, PLAIN)
    some = classify.examples(sequences, preparation, PLAIN, "validation")
    state = json.loads(json.dumps(classify.fit_baselines(some, None, preparation)))
    right = {
        one.name: classify.score(one.predict(some), some, preparation, PLAIN)["accuracy"]
        for one in classify.make_baselines(state, preparation, None)
    }
    assert right["logistic regression on the steps"] == 1
    assert right["logistic regression on summaries"] < 0.7


def blended(count=600, seed=0):
    """A fitted logistic regression, examples, and outputs of an underconfident network."""
    random = np.random.default_rng(seed)
    sequences = walks(count, classes=("a", "b", "c"), seed=seed)
    chosen = PLAIN.having("task", blend="logistic")
    preparation, _ = classify.prepare(sequences, chosen)
    some = classify.examples(sequences, preparation, chosen, "validation")
    state = classify.fit_baselines(some, None, preparation)
    outputs = random.normal(size=(count, 3)) + np.eye(3)[classify.labels_of(some, preparation)]
    return preparation, some, state, 0.3 * outputs


def test_a_blend_is_the_mean_of_both():
    preparation, some, state, outputs = blended()
    found = classify.postprocess(outputs, some, own_with(preparation, temperature=0.5), state)
    ours = np.exp(outputs / 0.5) / np.exp(outputs / 0.5).sum(axis=1, keepdims=True)
    logistic = next(
        one for one in classify.make_baselines(state, preparation, None) if "logistic" in one.name
    )
    np.testing.assert_allclose(found, (ours + logistic.predict(some)) / 2)
    # ... and that baseline is the one fitted: softmax of its coefficients on the summaries.
    fitted = {name: np.array(value) for name, value in state["logistic"].items()}
    features = summaries(some.source, np.array(state["floor"]))
    logits = features @ fitted["coefficients"] + fitted["intercept"]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(logistic.predict(some), probabilities)


def test_a_regression_of_an_older_folder_reads_summaries_without_logarithms():
    preparation, some, state, _ = blended()
    plain = summaries(some.source)
    fitted = fit_logistic(plain, classify.labels_of(some, preparation), 3, valid=None)
    logistic = {
        "coefficients": fitted.coefficients.tolist(),
        "intercept": fitted.intercept.tolist(),
    }
    older = {"majority": state["majority"], "logistic": logistic, "penalty": 1.0}
    found = classify.make_baselines(older, preparation, None)[1].predict(some)
    np.testing.assert_allclose(found, by_regression(fitted, plain))


def test_the_temperature_of_a_blend_is_that_of_the_network_alone():
    preparation, some, _, outputs = blended()
    alone = own_with(preparation, blend="none")
    found = classify.calibrate(preparation, outputs, some)
    assert found.own.temperature == classify.calibrate(alone, outputs, some).own.temperature != 1


def test_identical_texts_stay_in_one_part():
    random = np.random.default_rng(0)
    texts = [f"text number {k % 60}" for k in range(120)]
    labels = np.array(["a" if k % 60 < 40 else "b" for k in range(120)], dtype=object)
    order = random.permutation(120)
    some = from_texts([texts[k] for k in order], labels=labels[order])
    parts = classify.split(some, Experiment(), True)
    seen = [set(texts_of(one)) for one in (parts.train, parts.validation, parts.test)]
    assert all(not one & other for one, other in itertools.combinations(seen, 2))
    shares = [np.mean(one.labels == "a") for one in (parts.train, parts.validation, parts.test)]
    assert np.ptp(shares) < 0.15 and parts.test.groups is None


def test_auto_blends_where_the_mean_has_the_lower_log_loss():
    preparation, some, _, outputs = blended()
    undecided, truth = own_with(preparation, blend="auto"), classify.labels_of(some, preparation)
    classes = len(preparation.own.classes)
    name = LOGISTIC["numbers"]
    right = 0.02 + (1 - 0.02 * classes) * np.eye(classes)[truth]
    wrong = right[:, ::-1]
    for baseline, chosen in ((right, "logistic"), (wrong, "none")):
        sure = 3 * np.eye(classes)[truth]
        outputs = sure if chosen == "none" else np.zeros_like(sure)
        found = classify.choose_blend(undecided, outputs, {name: baseline}, some)
        assert found.own.blend == chosen


@pytest.mark.parametrize("count", [600, 199])
def test_the_share_of_a_blend_has_the_lowest_log_loss_of_enough_labels(count):
    preparation, some, state, outputs = blended(count)
    name = LOGISTIC["numbers"]
    said = classify.regression(state, some)
    labels = classify.labels_of(some, preparation)
    network = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    shares = (0.25, 0.5, 0.75) if count >= 200 else (0.5,)
    means = {share: (1 - share) * network + share * said for share in shares}
    best = min(shares, key=lambda share: -np.log(means[share][np.arange(count), labels]).mean())
    assert (best == 0.5) == (count < 200)  # the case is of use
    found = classify.choose_blend(preparation, outputs, {name: said}, some)
    assert (found.own.blend, found.own.share) == ("logistic", best)
    np.testing.assert_allclose(classify.postprocess(outputs, some, found, state), means[best])


def test_a_blend_takes_the_better_regression_and_keeps_to_the_length_of_training():
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 8, 1)).astype(np.float32)
    labels = np.where(values[:, 2, 0] > values[:, 5, 0], "up", "down")  # summaries cannot tell
    preparation, some = made(list(values), labels)
    state = classify.fit_baselines(some, None, preparation)
    said = {
        one.name: one.predict(some) for one in classify.make_baselines(state, preparation, None)
    }
    outputs = np.zeros((60, 2))
    for given in ("auto", "logistic"):
        found = classify.choose_blend(own_with(preparation, blend=given), outputs, said, some)
        assert (found.own.blend, found.own.blend_on_steps) == ("logistic", True)
        name = "logistic regression on the steps"
        assert classify.model_name(found) == f"LSTM with {name}"
        mean = (0.5 + said[name]) / 2
        np.testing.assert_allclose(classify.postprocess(outputs, some, found, state), mean)
    _, shorter = made(list(values[:, :7]), labels)
    np.testing.assert_array_equal(classify.postprocess(outputs, shorter, found, state), 0.5)


def made(arrays, labels):
    sequences = from_arrays(arrays, labels=labels)
    preparation, _ = classify.prepare(sequences, PLAIN)
    return preparation, classify.examples(sequences, preparation, PLAIN, "validation")


@pytest.mark.parametrize("role", ["train", "validation", "test", "predict"])
def test_training_alone_augments_and_padding_stays_padding(role):
    sequences = walks()
    chosen = PLAIN.having("training", jitter=0.1, scaling=0.1, time_warping=0.1)
    preparation, _ = classify.prepare(sequences, chosen)
    plain, found = (
        classify.examples(sequences, preparation, one, role).inputs(np.arange(12), 9)["steps"]
        for one in (PLAIN, chosen)
    )
    np.testing.assert_array_equal(plain == PADDING, found == PADDING)
    real = plain != PADDING
    assert np.allclose(plain[real], found[real]) == (role != "train")


@pytest.mark.parametrize(
    ("length", "quality", "filters", "summaries", "jitter"),
    [
        (120, "good", (64,), "yes", 0.1),
        (20, "good", (), "yes", 0.1),
        (120, "fast", (), "no", 0.0),
    ],
)
def test_the_default_network_reads_summaries_and_shortens_long_sequences(
    length, quality, filters, summaries, jitter
):
    sequences = walks(lengths=(length, length + 1))
    experiment, _ = classify.resolve(
        PLAIN.having("training", quality=quality), sequences, sequences
    )
    network, training = experiment.network, experiment.training
    assert (network.filters, network.summary_features) == (filters, summaries)
    assert training.jitter == training.scaling == jitter
    off = experiment.having("network", filters=(0,))
    assert classify.resolve(off, sequences, sequences)[0].network.filters == (0,)
    assert classify.resolve(experiment, sequences, sequences)[0] == experiment


@pytest.mark.parametrize(
    ("texts", "tokenizer"),
    [
        (["Nakamura", "Petrov", "de Vries", "Rossi"], "characters"),
        (["天気が良い", "雨が降る", "風が強い", "雪"], "characters"),
        (["rain in the north", "sun", "wind and rain", "clear sky"], "words"),
    ],
)
def test_texts_without_spaces_are_read_as_characters(texts, tokenizer):
    experiment, _ = tokens.resolved(Experiment(), from_texts(texts))
    assert experiment.preparation.tokenizer == tokenizer

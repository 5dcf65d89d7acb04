"""Each metric against its definition, a known small answer, or an independent library."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
import test_classify
import test_detect
import test_forecast
import test_language
import test_regress
import test_tag
import test_transcribe
import test_translate
from utilsforecast import losses

from gatewise import metrics
from gatewise.settings import from_mapping
from gatewise.tasks import TASKS
from gatewise.tasks.classify import task as classify
from gatewise.tasks.detect import scoring
from gatewise.tasks.forecast import task as forecast
from gatewise.tasks.transcribe import task as transcribe
from gatewise.tasks.translate.task import Translation

QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture
def forecasts():
    """Truth and answer [windows, horizon, targets], some of them zero."""
    random = np.random.default_rng(7)
    truth = random.normal(3, 5, size=(6, 8, 1))
    truth[0, :3] = 0
    return truth, truth + random.normal(size=truth.shape)


@pytest.fixture
def labelled():
    """True classes [n] and probabilities [n, classes]."""
    random = np.random.default_rng(8)
    truth = random.integers(0, 4, size=300)
    scores = random.normal(size=(300, 4)) + 1.5 * np.eye(4)[truth]
    return truth, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def frame(truth, **answers):
    """In the format of utilsforecast, with one series per window."""
    windows, horizon, _ = truth.shape
    return pl.DataFrame(
        {
            "unique_id": np.repeat(np.arange(windows), horizon),
            "ds": np.tile(np.arange(horizon), windows),
            "y": truth.ravel(),
            **{name: answer.ravel() for name, answer in answers.items()},
        }
    )


@pytest.mark.parametrize("name", ["mae", "mse"])
def test_error_is_utilsforecasts_mean_over_windows_of_one_length(name, forecasts):
    truth, answer = forecasts
    theirs = getattr(losses, name)(frame(truth, f=answer), models=["f"])["f"].mean()
    assert getattr(metrics, name)(truth, answer) == pytest.approx(theirs)


def test_rmse_is_utilsforecasts_on_one_series_of_everything(forecasts):
    truth, answer = (array.reshape(1, -1, 1) for array in forecasts)
    theirs = losses.rmse(frame(truth, f=answer), models=["f"])["f"][0]
    assert metrics.rmse(*forecasts) == pytest.approx(theirs)


def test_smape_is_utilsforecasts_share_in_percent_of_the_mean(forecasts):
    truth, answer = forecasts
    theirs = losses.smape(frame(truth, f=answer), models=["f"])["f"].mean()
    assert metrics.smape(truth, answer) == pytest.approx(
        200 * theirs
    )  # theirs has the maximum 1, ours 200


def test_smape_counts_zero_against_zero_as_exact():
    assert metrics.smape(np.array([0.0, 1.0]), np.array([0.0, 3.0])) == pytest.approx(50)


def test_smape_of_opposite_signs_is_200():
    assert metrics.smape(np.array([1.0]), np.array([-2.0])) == pytest.approx(200)


def test_mase_is_utilsforecasts_with_each_windows_own_history(forecasts):
    truth, answer = forecasts
    history = np.random.default_rng(9).normal(size=(len(truth), 40, 1))
    theirs = losses.mase(
        frame(truth, f=answer), models=["f"], seasonality=4, train_df=frame(history)
    )
    scale = [metrics.seasonal_scale(past[:, 0], season=4) for past in history]
    ours = metrics.mase(truth, answer, np.reshape(scale, (-1, 1, 1)))
    assert ours == pytest.approx(theirs["f"].mean())


def test_mase_leaves_out_windows_without_a_scale():
    truth, answer = np.zeros((3, 2, 1)), np.ones((3, 2, 1))
    scale = np.array([0.0, np.nan, 4.0]).reshape(3, 1, 1)
    assert metrics.mase(truth, answer, scale) == 0.25
    assert np.isnan(metrics.mase(truth[:2], answer[:2], scale[:2]))


def test_sql_is_twice_utilsforecasts_scaled_mqloss(forecasts):
    truth, answer = forecasts
    spread = np.stack([answer - 1, answer, answer + 1], axis=-1)
    history = np.random.default_rng(9).normal(size=(len(truth), 40, 1))
    named = {f"q{number}": spread[..., number] for number in range(3)}
    theirs = losses.scaled_mqloss(
        frame(truth, **named),
        models={"f": list(named)},
        quantiles=np.array(QUANTILES),
        seasonality=4,
        train_df=frame(history),
    )
    scale = [metrics.seasonal_scale(past[:, 0], season=4) for past in history]
    ours = metrics.sql(truth, spread, QUANTILES, np.reshape(scale, (-1, 1, 1)))
    assert ours == pytest.approx(2 * theirs["f"].mean())


def test_scale_of_a_constant_history_is_zero_and_of_a_short_one_unknown():
    assert metrics.seasonal_scale(np.full(10, 3.0), season=2) == 0
    assert np.isnan(metrics.seasonal_scale(np.arange(4.0), season=4))
    assert metrics.seasonal_scale(np.array([1.0, 2.0, np.nan, 3.0, 6.0]), season=1) == 2
    with pytest.raises(ValueError, match="at least one step"):
        metrics.seasonal_scale(np.arange(4.0), season=0)


@pytest.mark.parametrize("quantile", QUANTILES)
def test_pinball_is_utilsforecasts_quantile_loss(quantile, forecasts):
    truth, answer = forecasts
    theirs = losses.quantile_loss(frame(truth, f=answer), models={"f": "f"}, q=quantile)
    ours = metrics.pinball(truth, answer[..., None], [quantile])
    assert ours.shape == (*truth.shape, 1)
    assert ours.mean() == pytest.approx(theirs["f"].mean())


def test_wql_is_utilsforecasts_scaled_crps_of_one_series(forecasts):
    truth, answer = (array.reshape(1, -1, 1) for array in forecasts)
    spread = np.stack([answer - 1, answer, answer + 1], axis=-1)
    named = {f"q{number}": spread[..., number] for number in range(3)}
    theirs = losses.scaled_crps(
        frame(truth, **named), models={"f": list(named)}, quantiles=np.array(QUANTILES)
    )
    assert metrics.wql(truth, spread, QUANTILES) == pytest.approx(theirs["f"][0])


def test_wql_at_the_median_alone_is_the_normalised_deviation(forecasts):
    truth, answer = forecasts
    deviation = np.abs(truth - answer).sum() / np.abs(truth).sum()
    assert metrics.wql(truth, answer[..., None], [0.5]) == pytest.approx(deviation)


def test_wql_of_a_truth_of_zeros_is_unknown():
    assert np.isnan(metrics.wql(np.zeros((1, 2, 1)), np.ones((1, 2, 1, 1)), [0.5]))


def test_coverage_is_utilsforecasts_and_counts_the_ends(forecasts):
    truth, answer = forecasts
    low, high = answer - 1, answer + 0.5
    low[0, 0] = truth[0, 0]
    table = frame(truth, **{"f": answer, "f-lo-90": low, "f-hi-90": high})
    theirs = losses.coverage(table, models=["f"], level=90)["f"].mean()
    assert metrics.coverage(truth, low, high) == pytest.approx(theirs)
    assert metrics.coverage(truth, truth, truth) == 1


@pytest.mark.parametrize("metric", [metrics.mae, metrics.mse, metrics.rmse, metrics.smape])
def test_a_perfect_forecast_costs_nothing(metric, forecasts):
    truth, _ = forecasts
    assert metric(truth, truth) == 0


@pytest.mark.parametrize("metric", [metrics.mae, metrics.smape, metrics.accuracy])
def test_shapes_that_would_broadcast_are_refused(metric):
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3, 1\)"):
        metric(np.ones((2, 3)), np.ones((2, 3, 1)))


def test_quantile_forecasts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        metrics.pinball(np.ones((2, 3, 1)), np.ones((2, 3, 1, 2)), QUANTILES)


def test_accuracy_and_confusion_are_scikit_learns(labelled):
    truth, probabilities = labelled
    answer = probabilities.argmax(axis=1)
    assert metrics.accuracy(truth, answer) == sklearn.metrics.accuracy_score(truth, answer)
    theirs = sklearn.metrics.confusion_matrix(truth, answer, labels=range(5))
    np.testing.assert_array_equal(metrics.confusion(truth, answer, classes=5), theirs)


def test_f1_macro_is_its_definition(labelled):
    truth, probabilities = labelled
    answer = probabilities.argmax(axis=1)
    scores = []
    for k in range(4):
        hits = ((truth == k) & (answer == k)).sum()
        scores.append(2 * hits / ((truth == k).sum() + (answer == k).sum()))
    assert metrics.f1_macro(truth, answer) == pytest.approx(np.mean(scores))


def test_f1_macro_counts_a_class_never_found_as_zero():
    assert metrics.f1_macro(np.array([0, 0, 1]), np.array([0, 0, 0])) == pytest.approx(0.4)


def ordered_pairs(positive, negative):
    """Share of pairs in which the positive scores higher, with ties as half: the area."""
    difference = positive[:, None] - negative
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


def test_roc_auc_is_the_share_of_ordered_pairs_for_each_class(labelled):
    truth, probabilities = labelled
    probabilities = probabilities.round(1)  # to produce ties
    areas = [
        ordered_pairs(probabilities[truth == k, k], probabilities[truth != k, k]) for k in range(4)
    ]
    assert metrics.roc_auc(truth, probabilities) == pytest.approx(np.mean(areas))


def test_roc_auc_of_two_classes_is_that_of_the_second():
    truth = np.array([0, 0, 1, 1])
    second = np.array([0.1, 0.4, 0.35, 0.8])
    assert metrics.roc_auc(truth, np.stack([1 - second, second], axis=1)) == 0.75


def test_roc_auc_leaves_out_classes_absent_from_the_truth(labelled):
    truth, probabilities = labelled
    some = truth < 3
    areas = [
        ordered_pairs(probabilities[some & (truth == k), k], probabilities[some & (truth != k), k])
        for k in range(3)
    ]
    assert metrics.roc_auc(truth[some], probabilities[some]) == pytest.approx(np.mean(areas))
    one = truth == 2
    assert np.isnan(metrics.roc_auc(truth[one], probabilities[one]))


def test_log_loss_is_scikit_learns(labelled):
    truth, probabilities = labelled
    theirs = sklearn.metrics.log_loss(truth, probabilities, labels=range(4))
    assert metrics.log_loss(truth, probabilities) == pytest.approx(theirs)
    single = metrics.log_loss(truth, probabilities.astype(np.float32))
    assert single == pytest.approx(theirs, rel=1e-5)


def test_log_loss_of_a_sure_mistake_is_finite_as_in_scikit_learn():
    truth, sure = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    theirs = sklearn.metrics.log_loss(truth, sure, labels=[0, 1])
    assert metrics.log_loss(truth, sure) == pytest.approx(theirs)


def test_log_loss_of_even_odds_is_the_log_of_the_classes():
    assert metrics.log_loss(np.array([0, 2]), np.full((2, 3), 1 / 3)) == pytest.approx(np.log(3))


def test_calibration_error_is_guos_sum_over_bins(labelled):
    truth, probabilities = labelled
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    total = 0.0
    for m in range(1, 11):
        here = (confidence > (m - 1) / 10) & (confidence <= m / 10)
        if here.any():
            total += here.mean() * abs(right[here].mean() - confidence[here].mean())
    assert metrics.expected_calibration_error(truth, probabilities, bins=10) == pytest.approx(total)


def test_calibration_error_known_answers():
    truth = np.array([0, 0, 0, 1])
    exact = np.tile([0.75, 0.25], (4, 1))
    assert metrics.expected_calibration_error(truth, exact) == 0
    sure = np.tile([1.0, 0.0], (4, 1))
    assert metrics.expected_calibration_error(truth, sure) == 0.25


def test_reliability_counts_every_sequence_once(labelled):
    truth, probabilities = labelled
    curve = metrics.reliability(truth, probabilities, bins=15)
    confidences = [confidence for confidence, _, _ in curve]
    assert confidences == sorted(confidences)
    assert sum(count for _, _, count in curve) == len(truth)
    right = sum(right * count for _, right, count in curve) / len(truth)
    assert right == pytest.approx(metrics.accuracy(truth, probabilities.argmax(axis=1)))


# Every metric that a task can return, on a few examples of each kind of answer.


def forecasts_of(values=None, **settings):
    plain = {"task": {"season": 7}}
    chosen = test_forecast.experiment(**plain | settings)
    preparation, some = test_forecast.prepared(test_forecast.series(values), chosen)
    shape = forecast.truth(some, preparation).shape
    given = np.sort(
        np.random.default_rng(0).normal(size=(*shape, len(preparation.own.quantiles) or 1))
    )
    return given, some, preparation, chosen


def labels_of(classes, **data):
    chosen = test_classify.from_mapping({"task": {"name": "classify"}, "data": data})
    sequences = test_classify.walks(classes=classes)
    preparation, _ = classify.prepare(sequences, chosen)
    some = classify.examples(sequences, preparation, chosen, "test")
    given = np.random.default_rng(0).dirichlet(
        np.ones(len(preparation.own.classes)), size=len(some)
    )
    return given, some, preparation, chosen


def tags_of(tags):
    sequences = test_tag.corpus(tags=tags)
    preparation, some = test_tag.made(sequences, role="test")
    given = np.random.default_rng(0).dirichlet(np.ones(len(tags)), size=sequences.lengths.sum())
    return test_tag.most_probable(given), some, preparation, test_tag.PLAIN


def tokens_of():
    some, preparation, experiment = test_language.ready("test")
    return np.ones(len(some.source.stream)), some, preparation, experiment


def translations_of():
    (preparation, _), experiment = test_translate.prepared()
    some = test_translate.translate.examples(
        test_translate.pairs(), preparation, experiment, "test"
    )
    given = [Translation(text) for text in test_translate.TARGETS]
    return given, some, preparation, experiment


def transcripts_of():
    sequences, experiment = test_transcribe.recordings(["ab", "ca b"]), test_transcribe.settled()
    preparation, _ = transcribe.prepare(sequences, experiment)
    some = transcribe.examples(sequences, preparation, experiment, "test")
    return np.array(["ab", "c"]), some, preparation, experiment


def numbers_of(targets, **task):
    chosen = from_mapping(
        {
            "task": {"name": "regress", "quantiles": [0.1, 0.5, 0.9], **task},
            "data": {"target": list(targets), "target_per": "sequence"},
        }
    )
    sequences = test_regress.means(targets=targets)
    for numbers in sequences.static.values():
        numbers += 9
    preparation, some = test_regress.made(sequences, chosen)
    given = np.random.default_rng(0).normal(9, size=(60, len(targets), 3))
    return np.sort(given), some, preparation, chosen


def scores_of(marked):
    """Scores of steps with labelled anomalies, or of planted ones."""
    ready = test_detect.ready_of(test_detect.waves(600, marked=marked))
    given = np.random.default_rng(0).random(size=(len(ready.test), 5))
    given[:, scoring.ALARM] = given[:, scoring.SCORE] > 0.5
    return given, ready.test, ready.preparation, ready.experiment


# By the heading of docs/tasks.md that lists the metrics, then by variant.
ANSWERS = {
    "forecast": [
        lambda: forecasts_of(),
        lambda: forecasts_of([test_forecast.waves(), test_forecast.waves(seed=1)]),  # scaled errors
        lambda: forecasts_of(evaluation={"scaled": True}),
        lambda: forecasts_of(training={"loss": "mse"}),
    ],
    "classify": [lambda: labels_of(("a", "b")), lambda: labels_of(("a", "b", "c"))],
    "classify with several labels": [lambda: labels_of(("a", "b", "a; b"), separator=";")],
    "regress": [lambda: numbers_of(("y",)), lambda: numbers_of(("y", "z"))],
    "tag": [lambda: tags_of(("O", "B-x", "I-x")), lambda: tags_of(("NOUN", "VERB"))],
    "transcribe": [transcripts_of],
    "translate": [translations_of],
    "language": [tokens_of],
    "detect": [lambda: scores_of((500, 550)), lambda: scores_of(())],
}


def returned(heading):
    """The names of all metrics and measures of the task, under any of its settings."""
    task, names = TASKS[heading.split()[0]], set()
    for make in ANSWERS[heading]:
        given, some, preparation, experiment = make()
        scores = task.metrics(given, some, preparation, experiment)
        names |= {name.removeprefix(metrics.SCALED) for name in scores}
        judged = task.measures(some, preparation, experiment)
        if task.promises is not None and len(preparation.own.quantiles) > 1:
            judged = judged + [one.measure for one in task.promises(some, preparation)]
        for measure in judged:
            assert np.isfinite(measure.value(measure.statistics(given).sum(axis=0)))
            names.add(measure.metric.name)
    return names


def documented():
    text = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
    return {
        heading: set(names.split(", "))
        for heading, names in re.findall(r"<!-- metrics of (.*?): (.*?) -->", text)
    }


@pytest.mark.parametrize("heading", ANSWERS)
def test_every_metric_of_a_task_has_an_entry_and_is_in_the_docs(heading):
    names = returned(heading)
    for name in names:
        entry = metrics.find(name)
        assert entry is not None, f"{name} has no entry in METRICS"
        assert entry.better in ("higher", "lower", "neither")
        assert entry.meaning and entry.source and callable(entry.function)
    assert names == documented()[heading]


def test_every_task_returns_its_metrics_and_no_entry_is_unused():
    assert {heading.split()[0] for heading in ANSWERS} == set(TASKS)
    assert set.union(*documented().values()) == set(metrics.METRICS)


def test_every_entry_has_the_name_of_its_key():
    assert all(name == one.name for name, one in metrics.METRICS.items())


def test_scores_by_class_are_those_of_scikit_learn(labelled):
    truth, probabilities = labelled
    answer = probabilities.argmax(axis=1)
    found = metrics.by_class("abcd", *metrics.counts_by_class(metrics.confusion(truth, answer, 4)))
    known = sklearn.metrics.precision_recall_fscore_support(truth, answer)
    keys = ("precision", "recall", "f1", "support")
    for k, name in enumerate("abcd"):
        assert [found[name][key] for key in keys] == pytest.approx([one[k] for one in known])


def test_a_class_that_never_occurs_scores_zero():
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert metrics.by_class(["a"], *np.zeros((3, 1), dtype=int)) == {"a": nothing}


def test_f1_of_several_labels_is_that_of_scikit_learn():
    truth, answer = np.random.default_rng(0).random((2, 60, 5)) < 0.3
    wanted = sklearn.metrics.f1_score(truth, answer, average="micro")
    assert metrics.f1_micro(truth, answer) == pytest.approx(wanted)
    wanted = sklearn.metrics.accuracy_score(truth, answer)
    assert metrics.exact(truth, answer) == pytest.approx(wanted)


def test_the_quantile_loss_is_twice_that_of_scikit_learn(forecasts):
    truth, answer = forecasts
    given = np.stack([answer - 1, answer, answer + 1], axis=-1)
    each = [
        sklearn.metrics.mean_pinball_loss(truth.ravel(), given[..., k].ravel(), alpha=q)
        for k, q in enumerate(QUANTILES)
    ]
    found = metrics.quantile_loss(truth, given, QUANTILES).mean()
    assert found == pytest.approx(2 * np.mean(each))

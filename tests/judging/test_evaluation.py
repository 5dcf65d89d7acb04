"""The verdict: intervals with their stated coverage, and sentences that state the result."""

import re

import numpy as np
import polars as pl
import pytest

from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError
from gatewise.judging.evaluation import (
    NETWORK,
    ROWS,
    chosen_measure,
    compare,
    evaluate,
    promise_note,
    thinned,
)
from gatewise.settings import EvaluationSettings, Experiment
from gatewise.tasks.classify import multilabel
from gatewise.tasks.classify import task as classify
from gatewise.tasks.classify.fitted import Fitted as ClassifyFitted
from gatewise.tasks.forecast import task as forecast
from gatewise.tasks.forecast.fitted import Fitted as ForecastFitted
from gatewise.tasks.task import Baseline, Measure, Promise, mean_measure

SETTINGS = EvaluationSettings(n_resamples=400)


def errors(clusters, *, higher=False):
    """A measure of answers that are the errors themselves."""
    return mean_measure("accuracy" if higher else "mae", lambda a: a, clusters)


def against(ours, theirs, clusters=None, *, higher=False, settings=SETTINGS):
    clusters = np.arange(len(ours)) if clusters is None else clusters
    return compare(errors(clusters, higher=higher), ours, theirs, "repeat last", settings)


def test_the_interval_holds_the_true_difference_about_as_often_as_stated():
    random = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        shared = random.normal(5, 3, size=60)  # an error that both answers share
        found = against(shared + random.normal(0.5, 1, size=60), shared)
        inside.append(found["low"] <= 0.5 <= found["high"])
    assert 0.91 <= np.mean(inside) <= 0.98


def test_the_comparison_is_paired():
    random = np.random.default_rng(0)
    shared = random.normal(0, 1000, size=50)  # far larger than the difference
    found = against(shared - 0.1, shared)
    assert found["better"] is True
    assert found["low"] == pytest.approx(-0.1)
    assert found["high"] == pytest.approx(-0.1)


def test_copies_within_a_cluster_add_nothing():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(size=(2, 30))
    alone = against(ours, theirs)
    copied = against(np.repeat(ours, 20), np.repeat(theirs, 20), np.repeat(np.arange(30), 20))
    for key in ("difference", "low", "high"):
        assert copied[key] == pytest.approx(alone[key])
    independent = against(np.repeat(ours, 20), np.repeat(theirs, 20))
    assert independent["high"] - independent["low"] < 0.5 * (alone["high"] - alone["low"])


def test_a_higher_confidence_is_a_wider_interval():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(size=(2, 30))
    narrow, wide = (
        against(ours, theirs, settings=EvaluationSettings(confidence_level=level))
        for level in (0.5, 0.99)
    )
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_the_same_data_give_the_same_interval():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(size=(2, 30))
    assert against(ours, theirs) == against(ours, theirs)


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_better_means_lower_errors_or_higher_scores(higher, shift):
    random = np.random.default_rng(0)
    theirs = random.normal(5, 1, size=40)
    found = against(theirs + shift + 0.1 * random.normal(size=40), theirs, higher=higher)
    assert found["difference"] == pytest.approx(shift, abs=0.1), "ours minus theirs"
    assert found["difference"] == pytest.approx(found["ours"] - found["theirs"])
    assert found["better"] is ((shift > 0) == higher)
    word = "better" if found["better"] else "worse"
    assert found["sentence"].startswith(f"The LSTM is {word} than repeat last: ")


def test_a_difference_that_may_be_zero_is_not_distinguishable():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(5, 1, size=(2, 40))
    found = against(ours, theirs)
    assert found["low"] < 0 < found["high"]
    assert found["better"] is None
    assert found["sentence"].startswith("The LSTM is not distinguishable from repeat last: ")


def test_too_few_stretches_are_too_little_to_tell():
    found = against(np.zeros(40), np.ones(40), np.repeat(np.arange(4), 10))
    assert found["better"] is None
    assert found["sentence"].startswith("Too little to tell the LSTM from repeat last: ")
    assert "only 4 independent stretches" in found["sentence"]


def test_fewer_than_five_stretches_have_no_interval():
    for clusters, words in ((1, "1 independent stretch of"), (4, "4 independent stretches of")):
        found = against(np.full(40, 3.0), np.full(40, 4.0), np.arange(40) % clusters)
        assert f"mae 3 against 4, -25.0 %, from only {words} test data." in found["sentence"]
        assert np.isnan([found["low"], found["high"], found["relative_low"]]).all()
        higher = against(np.full(40, 0.5), np.full(40, 0.75), np.arange(40) % clusters, higher=True)
        assert f"-25.0 points, from only {words} test data." in higher["sentence"]


@pytest.mark.parametrize("seed", range(5))
def test_an_error_never_falls_by_more_than_all_of_it(seed):
    """Word error rates of recordings, most without any mistake."""
    random = np.random.default_rng(seed)
    theirs = np.append(random.integers(1, 3, size=2), np.where(random.random(38) < 0.7, 0, 1.0))
    ours = np.where(np.arange(40) == 0, 0.05, 0.0)
    found = against(ours, theirs)
    assert -1 <= found["relative_low"] <= found["relative"] <= found["relative_high"] < 0
    assert found["better"] is True
    for number in re.findall(r"([-+][\d.]+) %", found["sentence"]):
        assert float(number) >= -100


def test_the_relative_interval_holds_the_true_ratio_about_as_often_as_stated():
    random = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        theirs = random.gamma(2, 1, size=60)
        found = against(0.7 * theirs * random.uniform(0.5, 1.5, size=60), theirs)
        inside.append(found["relative_low"] <= -0.3 <= found["relative_high"])
    assert 0.91 <= np.mean(inside) <= 0.98


def test_with_a_possible_zero_denominator_the_difference_is_in_the_units_of_the_metric():
    theirs = np.append(np.full(2, 4.0), np.zeros(38))  # some resamples contain no mistake
    found = against(np.full(40, 0.1), theirs)
    assert np.isnan(found["relative_low"])
    assert "%" not in found["sentence"].replace("95% interval", "")
    assert f"{found['difference']:+.4g} (95% interval {found['low']:+.4g} to" in found["sentence"]


def promised(hits, clusters, share=0.8, settings=SETTINGS):
    measure = mean_measure("coverage", lambda answer: answer, clusters)
    return promise_note(Promise("band", share, measure), hits, settings)


def test_a_correct_share_is_flagged_about_as_seldom_as_the_confidence_level_implies():
    random = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 5)
    flagged = 0
    for _ in range(300):
        each = random.beta(8, 2, size=60)  # the hits of one stretch resemble each other
        hits = (random.random(300) < np.repeat(each, 5)).astype(float)
        flagged += bool(promised(hits, clusters))
    assert 0.02 <= flagged / 300 <= 0.10


def test_a_wrong_share_is_stated():
    clusters = np.arange(200)
    low = promised((clusters % 8 < 5).astype(float), clusters)
    assert low.startswith("The band holds 62.5 % of the truth and should hold 80 % (95% interval")
    assert low.endswith("the predictions are more confident than they should be.")
    high = promised((clusters % 50 > 0).astype(float), clusters)
    assert high.endswith("the predictions are less confident than they should be.")
    few = promised((clusters % 8 < 5).astype(float), clusters // 100)
    assert few == (
        "The band holds 62.5 % of the truth and should hold 80 %, measured on only 2 independent "
        "stretches of test data: too little to tell whether that is chance."
    )


def test_the_sentence_gives_errors_in_percent_and_scores_in_points():
    random = np.random.default_rng(0)
    theirs = random.normal(10, 1, size=40)
    found = against(theirs / 2, theirs)
    assert "-50.0 % (95% interval -50.0 % to -50.0 %)" in found["sentence"]
    ours = 0.75 + np.array([0.01, -0.01] * 20)
    found = against(ours, np.full(40, 0.5), higher=True)
    low, high = (100 * found[key] for key in ("low", "high"))
    wanted = f"accuracy 0.750 against 0.500, +25.0 points (95% interval {low:+.1f} to {high:+.1f})"
    assert wanted in found["sentence"] and low < 25 < high


def test_a_ratio_to_an_error_of_almost_zero_is_told_as_a_difference():
    for count in (40, 3):
        sentence = against(np.ones(count), np.full(count, 1e-16))["sentence"]
        assert "mae 1 against 1e-16, +1" in sentence and "%" not in sentence.split("(95%")[0]


def test_a_part_without_any_known_truth_has_no_score():
    measure = mean_measure("mae", lambda predictions: predictions, np.zeros(0, dtype=int))
    assert np.isnan(measure.value(measure.statistics(np.zeros(0)).sum(axis=0)))


def test_a_baseline_without_any_error_does_not_break_the_sentence():
    found = against(np.ones(40), np.zeros(40))
    assert found["better"] is False
    assert found["sentence"].startswith("The LSTM is worse")
    assert "nan" not in found["sentence"]


def of_windows(truth, quantiles=(0.1, 0.5, 0.9)):
    """30 windows of a series with this truth, and measures of their forecasts."""
    preparation = Preparation(
        *("forecast", ("load",), ("load",)),
        scale=Scale("none", "all", (), np.zeros((1, 1)), np.ones((1, 1))),
        own=ForecastFitted(targets=("load",), quantiles=quantiles, lookback=4, horizon=2),
    )
    some = forecast.examples(from_arrays([truth], columns=("load",)), preparation, EXPERIMENT, "t")
    return forecast.measures(some, preparation, EXPERIMENT), len(some)


EXPERIMENT = Experiment().having("evaluation", n_resamples=50)
UNKNOWN = np.where(np.arange(36) < 4, np.arange(36.0), np.nan)  # every answer's truth
CHANCES = np.stack([np.linspace(0, 1, 12), np.linspace(1, 0, 12)], axis=1)
WITHOUT = np.where(np.arange(12)[:, None] == 3, np.nan, CHANCES)


def no_verdicts():
    """Cases in which a score is not a number: (id, measure, ours, theirs)."""
    measures, count = of_windows(UNKNOWN)
    zeros = np.zeros((count, 2, 1, 3))
    yield from ((f"truth {one.name}", one, zeros, zeros + 1) for one in measures)
    measures, count = of_windows(np.arange(36.0))
    spoilt = np.where(np.arange(count)[:, None, None, None] == 3, np.nan, zeros)
    for one in measures:
        yield f"ours {one.name}", one, spoilt, zeros
        yield f"theirs {one.name}", one, zeros, spoilt
    sequences = from_arrays([np.ones(2)] * 12, labels=np.array(["a", "b"] * 6))
    preparation = Preparation(
        "classify",
        ("x0",),
        ("x0",),
        Scale("none", "all", (), np.zeros((1, 1)), np.ones((1, 1))),
        ClassifyFitted(classes=("a", "b")),
    )
    some = classify.examples(sequences, preparation, EXPERIMENT, "test")
    for one in classify.measures(some, preparation, EXPERIMENT):
        yield f"ours {one.name}", one, WITHOUT, CHANCES
        yield f"theirs {one.name}", one, CHANCES, WITHOUT
    for one in multilabel.measures(np.array([[True, False]] * 12), np.arange(12)):
        yield f"several {one.name}", one, WITHOUT, CHANCES
    nothing = np.zeros((12, 2))  # no word in any transcript, no token in any text
    rate = Measure("wer", lambda a: a, lambda s: s[..., 0] / s[..., 1], np.arange(12))
    yield "nothing to count", rate, nothing, nothing


@pytest.mark.parametrize(
    ("measure", "ours", "theirs"),
    [pytest.param(*given, id=name) for name, *given in no_verdicts()],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_there_is_no_verdict_on_a_score_that_is_not_a_number(measure, ours, theirs):
    found = compare(measure, ours, theirs, "repeat last", EXPERIMENT.evaluation)
    assert found["better"] is None
    assert np.isnan([found["difference"], found["low"], found["high"]]).all()
    assert found["sentence"].startswith("No verdict against repeat last: ")
    assert "nan" not in found["sentence"]


def test_a_resample_without_anything_to_count_does_not_spoil_the_interval():
    counted = np.zeros((6, 2))
    counted[0] = [1, 2]  # all words are in one recording of six
    rate = Measure("wer", lambda a: a, lambda s: s[..., 0] / s[..., 1], np.arange(6))
    with np.errstate(invalid="ignore"):
        found = compare(rate, counted, counted, "repeat last", SETTINGS)
    assert found["low"] == found["high"] == 0


def test_an_unknown_metric_is_refused_by_name():
    with pytest.raises(ConfigError, match="one of auto, mae. Received: 'rmsle'"):
        chosen_measure([errors(np.arange(3))], "rmsle")


@pytest.fixture
def judged():
    """60 sequences of three classes, an answer with 50 right, baselines with 40 and 20."""
    labels = np.array(["a", "b", "c"] * 20)
    sequences = from_arrays([np.arange(4.0) + k for k in range(60)], labels=labels)
    experiment = Experiment().having("evaluation", n_resamples=200)
    preparation, _ = classify.prepare(sequences, experiment)
    some = classify.examples(sequences, preparation, experiment, "test")
    truth = classify.labels_of(some, preparation)

    def right_on(count):
        chosen = np.where(np.arange(60) < count, truth, (truth + 1) % 3)
        return 0.8 * np.eye(3)[chosen] + 0.2 / 3

    rules = [Baseline(f"right on {n}", lambda _, n=n: right_on(n)) for n in (20, 40)]
    return evaluate(right_on(50), some, classify.TASK, preparation, experiment, baselines=rules)


def test_the_verdict_is_against_the_baseline_that_did_best(judged):
    assert judged.verdict["against"] == "right on 40"
    assert judged.verdict["metric"] == "accuracy"
    assert judged.verdict["ours"] == pytest.approx(50 / 60)
    assert judged.verdict["better"] is True


def test_every_baseline_is_in_the_table_and_compared_by_every_measure(judged):
    assert set(judged.baselines) == {"right on 20", "right on 40"}
    assert all(set(scores) == set(judged.metrics) for scores in judged.baselines.values())
    pairs = {(one["metric"], one["against"]) for one in judged.comparisons}
    assert pairs == {(m, f"right on {n}") for m in ("accuracy", "f1_macro") for n in (20, 40)}


def test_the_measure_that_is_resampled_is_the_metric_that_is_shown(judged):
    for one in judged.comparisons:
        assert one["ours"] == pytest.approx(judged.metrics[one["metric"]])
        assert one["theirs"] == pytest.approx(judged.baselines[one["against"]][one["metric"]])


def test_predictions_hold_a_row_for_each_sequence_with_its_truth(judged):
    assert isinstance(judged.table, pl.DataFrame)
    assert judged.table.height == 60
    assert (judged.table["label"] == judged.table["truth"]).sum() == 50
    assert NETWORK == "LSTM"


def test_predictions_are_thinned_by_their_rows_and_nothing_else():
    whole = pl.DataFrame({"q0.1": [0.0] * 100, "q0.5": [0.0] * 100, "q0.9": [0.0] * 100})
    assert len(thinned(ROWS, whole)) == ROWS, "three quantiles of a step share a row"
    many = thinned(50_000, pl.concat([whole] * 48))  # 48 rows per answer
    assert len(many) * 48 <= ROWS < (len(many) + 1) * 48
    assert (many[0], many[-1]) == (0, 49_999)
    assert len(thinned(3, whole[:3])) == 3


def test_how_many_answers_the_table_shows_is_known(judged):
    assert (judged.listed, judged.count) == (60, 60)
    assert judged.caveats == []


def test_an_interval_of_no_width_is_not_printed():
    perfect = np.ones(12)
    right = mean_measure("accuracy", lambda answer: answer, np.arange(12))
    sentence = compare(right, perfect, perfect, "majority", SETTINGS)["sentence"]
    assert "the same in every resample" in sentence
    assert "interval" not in sentence

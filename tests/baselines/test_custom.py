"""Baselines of the user's own: what they see, what they may answer, and how they are refused."""

import numpy as np
import polars as pl
import pytest

from gatewise.arguments import experiment_for
from gatewise.baselines.custom import customs
from gatewise.errors import ConfigError
from gatewise.judging.validation import score_baselines
from gatewise.training.ready import make_ready

SERIES = {
    "task": {"name": "forecast", "horizon": 3, "lookback": 5, "season": 1, "quantiles": [0.1, 0.5]},
    "network": {"units": [2]},
    "data": {"time": "day", "target": ["count"], "known": ["plan"]},
}
DAYS = 90


@pytest.fixture(scope="module")
def series():
    """A series that counts its days, and a plan for each day."""
    days = np.datetime64("2024-01-01") + np.arange(DAYS) * np.timedelta64(1, "D")
    counts = np.arange(DAYS, dtype=float)
    frame = pl.DataFrame({"day": days, "count": counts, "plan": np.sin(counts)})
    return make_ready(*experiment_for(frame, [SERIES], ()))


@pytest.fixture(scope="module")
def walks(sequences_file):
    settings = {"task": {"name": "classify"}, "network": {"units": [2]}}
    return make_ready(*experiment_for(sequences_file, [settings], ()))


@pytest.fixture(scope="module")
def sums():
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 4, 2))
    settings = {"task": {"name": "regress"}, "network": {"units": [2]}}
    return make_ready(*experiment_for((x, x.sum(axis=(1, 2))), [settings], ()))


@pytest.fixture(scope="module")
def sentences():
    words = [["a", "b", "c"], ["b", "a"]] * 20
    tags = [[one.upper() for one in sentence] for sentence in words]
    settings = {"task": {"name": "tag"}, "network": {"units": [2]}}
    return make_ready(*experiment_for((words, tags), [settings], ()))


def answers(ready, function):
    """What the baseline predicts for the test part, in the form of the task."""
    [made] = [b for b in score_baselines(ready, customs(function)).baselines if b.slow][-1:]
    return made.predict(ready.test)


def test_a_forecaster_sees_all_steps_before_its_origin_and_none_after_it(series):
    seen = []

    def rule(past):
        seen.append(len(past.targets))
        np.testing.assert_array_equal(past.targets[:, 0], np.arange(len(past.targets)))
        assert past.targets.base is None or len(past.targets.base) == len(past.targets)
        assert len(past.times) == len(past.covariates["plan"]) == len(past.targets)
        assert "count" not in past.covariates and "count" not in past.future
        plan = np.sin(len(past.targets) + np.arange(3))
        np.testing.assert_allclose(past.future["plan"], plan, rtol=1e-5)
        return past.targets[-1, 0] + np.arange(1.0, 4.0)

    predicted = answers(series, rule)
    origins = len(series.test)
    assert seen[-origins:] == list(range(DAYS - 2 - origins, DAYS - 2))
    # A rule without errors has no spread.
    expected = np.arange(DAYS - 2 - origins, DAYS - 2)[:, None] + np.arange(3.0)
    np.testing.assert_allclose(predicted[:, :, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(predicted[:, :, 0, 1], expected, rtol=1e-6)


def test_quantiles_of_ones_own_are_taken_as_they_are(series):
    predicted = answers(series, lambda past: np.ones((3, 1, 2)) * [2.0, 1.0])
    assert (predicted == [1.0, 2.0]).all()


def test_a_classifier_sees_no_labels_but_those_of_training(walks):
    def rule(train, asked):
        assert asked.truth is None and set(train.truth) == {"größer", "日本"}
        assert train.columns == ("x", "y") and train.sequences[0].shape[1] == 2
        return [train.classes[len(one) % 2] for one in asked.sequences]

    predicted = answers(walks, rule)
    expected = np.eye(2)[walks.test.lengths % 2]
    np.testing.assert_array_equal(predicted, expected)
    shares = answers(walks, lambda train, asked: np.tile([0.25, 0.75], (len(asked), 1)))
    np.testing.assert_array_equal(shares, np.tile([0.25, 0.75], (len(walks.test), 1)))


def test_points_of_a_regressor_get_the_quantiles_of_their_errors(sums):
    predicted = answers(sums, lambda _, asked: [one.sum() for one in asked.sequences])
    truth = np.array([one.sum() for one in sums.test.source])
    np.testing.assert_allclose(predicted[:, 0, :], np.repeat(truth[:, None], 3, 1), atol=1e-9)
    off = answers(sums, lambda _, asked: [one.sum() + 1 for one in asked.sequences])
    np.testing.assert_allclose(off[:, 0, 1], truth + 1, atol=1e-9)  # the median stays


def test_a_tagger_answers_for_each_token(sentences):
    predicted = answers(
        sentences, lambda _, asked: [[one.upper() for one in words] for words in asked.sequences]
    )
    assert (predicted.probabilities.max(axis=1) == 1).all()
    assert len(predicted) == sum(len(one) for one in sentences.test.source)


def fail(_train, _asked):
    return 1 / 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fail, r"The baseline 'fail' failed: ZeroDivisionError: .*test_custom.*return 1 / 0"),
        (lambda *_: None, "returned None"),
        (lambda *_: ["größer"], "returned 1 answers for"),
        (lambda _, asked: ["klein"] * len(asked), "the label 'klein' for sequence 0. It must"),
        (lambda _, asked: np.full((len(asked), 2), np.nan), r"NaN or infinite, first at \[0, 0\]"),
        (lambda _, asked: np.ones((len(asked), 3)) / 3, r"an array of shape \(\d+, 3\)"),
        (lambda _, asked: np.ones((len(asked), 2)), r"that add up to 2 \(row 0\)"),
        (lambda _, asked: -np.ones((len(asked), 2)), "numbers below 0"),
    ],
)
def test_a_wrong_answer_is_refused_before_the_training(walks, answer, said):
    with pytest.raises(ConfigError, match=said):
        score_baselines(walks, customs(answer))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda past: past.targets, r"an array of shape \(\d+, 1\). It must return numbers of"),
        (lambda past: [np.nan] * 3, r"3 values that are NaN or infinite, first at \[0\]"),
        (lambda past: "up", "returned 'up'"),
        (lambda past: np.ones(3) if len(past.targets) % 2 else np.ones((3, 1, 2)), "same shape"),
    ],
)
def test_a_wrong_forecast_is_refused(series, answer, said):
    with pytest.raises(ConfigError, match=said):
        score_baselines(series, customs(answer))


def test_a_wrong_number_of_tags_or_an_unknown_tag_is_refused(sentences):
    for answer, said in ((["A"], "1 tags for sentence 0 of"), (["Z"] * 3, "the tag 'Z'")):
        with pytest.raises(ConfigError, match=said):
            score_baselines(sentences, customs(lambda _, asked, a=answer: [a] * len(asked)))


def test_a_function_is_found_by_file_or_by_module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def rule(past):\n    return past\nnumber = 3\n")
    (tmp_path / "broken.py").write_text("import nowhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # undoes what the import leaves behind
    assert [one.name for one in customs(["mine:rule"])] == ["rule"]
    assert customs(f"{tmp_path}/mine.py:rule")[0].function(7) == 7
    for given, said in (
        ("mine", 'must be "module:function"'),
        ("mine.py:rules", "has no function 'rules'"),
        ("mine:number", "A baseline is a function"),
        ("none.py:rule", "there is no file none.py"),
        ("nowhere:rule", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("broken.py:rule", r"No module named 'nowhere' \(.*broken\.py, line 1: import nowhere\)"),
        (["mine:rule", "mine.py:rule"], "Two baselines are called 'rule'"),
    ):
        with pytest.raises(ConfigError, match=said):
            customs(given)

"""The blend of numbers with ridge: the same answers wherever a run answers."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError
from gatewise.settings import from_mapping
from gatewise.tasks.regress import blend
from gatewise.tasks.regress import task as regress

LEVELS = (0.1, 0.5, 0.9)
EXPERIMENT = from_mapping(
    {
        "task": {"name": "regress", "quantiles": list(LEVELS), "blend": "auto"},
        "data": {"target": ["y"], "target_per": "sequence"},
    }
)
QUANTILES = ["q0.1", "q0.5", "q0.9"]
STEPS = 6


def weighted(count=120, noise=0.1):
    """Sequences of one length, whose target is a weighted sum of the steps, and noise."""
    random = np.random.default_rng(0)
    values = random.normal(size=(count, STEPS, 2))
    target = values[..., 0] @ np.arange(STEPS) + noise * random.normal(size=count)
    return values, target


def prepared(values, target):
    sequences = from_arrays(list(values), columns=("a", "b"), static={"y": target})
    preparation, _ = regress.prepare(sequences, EXPERIMENT)
    return preparation, regress.examples(sequences, preparation, EXPERIMENT, "validation")


def table_of(values, target=None):
    count, steps, _ = values.shape
    table = pl.DataFrame(
        {
            "id": np.repeat([f"s{k:03}" for k in range(count)], steps),
            "a": values[..., 0].ravel(),
            "b": values[..., 1].ravel(),
        }
    )
    return table if target is None else table.with_columns(y=np.repeat(target, steps))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network has learned next to nothing, so that ridge helps."""
    folder = tmp_path_factory.mktemp("blend") / "run"
    settings = {
        "task": {"name": "regress"},
        "data": {"id": ["id"], "target": ["y"]},
        "network": {"units": [3]},
        "training": {"epochs": 1, "networks": 1, "seed": 1},
        "split": {"folds": 2},
    }
    gatewise.train(table_of(*weighted()), settings=settings, quality="good", output=folder)
    return folder


def without_blend(folder):
    found = gatewise.load(folder)
    own = replace(found.preparation.own, blend="none")
    return replace(found, preparation=replace(found.preparation, own=own))


def test_the_default_blends_with_ridge_on_the_steps_and_predicts_the_calibrated_mean(run):
    found = gatewise.load(run)
    own, state = found.preparation.own, found.baselines
    assert (own.blend, own.blend_on_steps) == ("ridge", True)
    values, _ = weighted(20)
    alone = gatewise.predict(without_blend(run), table_of(values)).select(QUANTILES).to_numpy()
    fitted, (target,) = state["steps"], own.targets
    point = values.reshape(20, -1) @ np.array(fitted["coefficients"]) + fitted["intercept"]
    ridge = point + np.array(state["offsets"]["steps"])
    network = (alone - target.centre) / target.spread
    mean = (1 - own.share) * network + own.share * ridge + np.array(own.blend_margins)
    for answering in (found, run):  # a run folder is opened without Keras
        answer = gatewise.predict(answering, table_of(values)).select(QUANTILES).to_numpy()
        wanted = np.sort(mean * target.spread + target.centre, axis=1)
        np.testing.assert_allclose(answer, wanted, rtol=1e-4, atol=1e-4)


def test_a_blend_is_scored_and_named_as_one_beside_the_network_alone(run):
    data = table_of(*weighted(60))
    found = gatewise.evaluate(run, data)
    assert found["answer"] == "LSTM with ridge on the steps"
    alone = gatewise.evaluate(without_blend(run), data)
    assert found["alone"]["mae"] == pytest.approx(alone["metrics"]["mae"], rel=1e-5)
    assert found["metrics"]["mae"] < alone["metrics"]["mae"]
    assert found["metrics"]["mae"] > found["baselines"]["ridge on the steps"]["mae"]


def test_a_sequence_of_another_length_has_the_answer_of_the_network(run):
    values, _ = weighted(6)
    for some, same in ((values[:, :4], True), (values, False)):
        ours, alone = (
            gatewise.predict(one, table_of(some)).select(QUANTILES).to_numpy()
            for one in (run, without_blend(run))
        )
        assert np.allclose(ours, alone, rtol=1e-5) == same


@pytest.mark.parametrize("on_steps", [True, False])
@pytest.mark.parametrize("window", [None, STEPS])
def test_a_stream_answers_each_step_as_predict_does(run, on_steps, window):
    found = gatewise.load(run)
    own = replace(found.preparation.own, blend_on_steps=on_steps)
    found = replace(found, preparation=replace(found.preparation, own=own))
    values = np.random.default_rng(2).normal(size=(1, STEPS + 2, 2))
    stream = gatewise.Stream(found, window=window)
    stream.push(table_of(values[:, :3]).drop("id"))
    answers, state = stream.read(), stream.state()
    stream = gatewise.Stream(found, window=window)
    stream.restore(state)
    stream.push(table_of(values[:, 3:]).drop("id"))
    answers += stream.read()
    assert [one["step"] for one in answers][-3:] == [STEPS, STEPS + 1, STEPS + 2]
    for one in answers:
        read = values[:, max(0, one["step"] - (window or STEPS + 2)) : one["step"]]
        (wanted,) = gatewise.predict(found, table_of(read)).select(QUANTILES).to_numpy()
        np.testing.assert_allclose([one[name] for name in QUANTILES], wanted, rtol=1e-4)


def test_an_export_says_that_it_holds_the_network_alone(run, tmp_path):
    export = gatewise.export(run, to="numpy", output=tmp_path / "export")
    text = (tmp_path / "export" / "README.txt").read_text(encoding="utf-8")
    for one in (" ".join(text.split()), " ".join(export.summary())):
        assert "the export holds the network alone" in one


@pytest.mark.parametrize(
    ("ridge", "steps", "wanted"),
    [
        (0.0, 2.0, ("ridge", False, 0.75)),
        (2.0, 0.0, ("ridge", True, 0.75)),
        (-1.0, 2.0, ("ridge", False, 0.5)),  # it errs as much, but the other way
        (1.0, 1.0, ("none", False, 0.5)),
        (9.0, 9.0, ("none", False, 0.5)),
    ],
)
def test_auto_chooses_ridge_and_share_by_the_validation_error(ridge, steps, wanted):
    preparation, examples = prepared(*weighted())
    actual = rows(examples, preparation)
    bands = np.array([-0.5, 0.0, 0.5])
    said = {blend.LINEAR: actual[..., None] + ridge + bands}
    said[blend.STEPS] = actual[..., None] + steps + bands
    own = blend.chosen(preparation, actual[..., None] + 1 + bands, said, actual).own
    assert (own.blend, own.blend_on_steps, own.share) == wanted


def rows(examples, preparation):
    return regress.scaled(regress.truth(examples, preparation), preparation)


def test_few_answers_choose_the_better_half_or_nothing():
    preparation, examples = prepared(*weighted(19))
    actual = rows(examples, preparation)
    said = {blend.LINEAR: actual[..., None] + 1, blend.STEPS: actual[..., None]}
    network = np.repeat(actual[..., None], 3, axis=-1)
    own = blend.chosen(preparation, network + 1, said, actual).own
    assert (own.blend, own.blend_on_steps, own.share) == ("ridge", True, 0.5)
    assert own.blend_margins == ()
    assert blend.chosen(preparation, network, said, actual).own.blend == "none"
    given = replace(preparation, own=replace(preparation.own, blend="ridge"))
    own = blend.chosen(given, network, said, actual).own
    assert (own.blend, own.blend_on_steps, own.share) == ("ridge", True, 0.5)


def test_the_bands_of_a_blend_hold_their_share_of_the_calibration_part():
    preparation, examples = prepared(*weighted())
    actual = rows(examples, preparation)
    noise = np.random.default_rng(1).normal(size=(2, *actual.shape, 1))
    narrow = 0.01 * np.array([-1, 0, 1])
    network, ridge = actual[..., None] + noise + narrow
    made = blend.chosen(preparation, network, {blend.STEPS: ridge}, actual)
    mean = blend.mixed(network, ridge, made.own)
    inside = (mean[..., 0] <= actual) & (actual <= mean[..., -1])
    assert made.own.blend == "ridge" and inside.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("task", "per", "said"),
    [
        ("logistic", "sequence", r"logistic is a blend of labels.*ridge"),
        ("ridge", "step", r"ridge needs one number for each sequence.*Leave out task.blend"),
    ],
)
def test_a_blend_that_does_not_fit_is_refused(task, per, said):
    experiment = EXPERIMENT.having("task", blend=task).having("data", target_per=per)
    with pytest.raises(ConfigError, match=said):
        blend.resolved(experiment)

"""Training: losses, learning rates, stopping, and the weights that are kept."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import gatewise
from gatewise.data.batches import Examples
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError, TrainingError
from gatewise.settings import Experiment, TrainingSettings
from gatewise.tasks.classify import task as classify
from gatewise.tasks.classify.network import classify_loss
from gatewise.tasks.forecast.network import forecast_loss, forecast_metric
from gatewise.training.defaults import resolved
from gatewise.training.feed import Feed
from gatewise.training.fit import Around, _divergence_check, fit
from gatewise.training.interrupts import SKIP, STOP, Interrupts, Skipped
from gatewise.training.optimizers import optimizer
from gatewise.training.progress import Monitor, Progress


def lines(count, seed, slope=2.0):
    """Examples of a number and its multiple, which a single weight can learn."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 1)).astype(np.float32)
    y = slope * x + 0.5 * random.normal(size=x.shape).astype(np.float32)
    of = from_arrays(list(x))
    return Examples(
        of, np.ones(count, dtype=int), lambda w, _: {"steps": x[w]}, lambda w, _=0: y[w]
    )


LOSS = Monitor("loss")


def trained(settings, *, train=None, valid=None, watch=None, monitor=LOSS, interrupts=None):
    keras.utils.set_random_seed(settings.seed)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(optimizer=optimizer(settings, 100), loss="mse", metrics=["mae"])
    history = fit(
        network,
        train or lines(64, 0),
        valid or lines(32, 1),
        settings,
        padded=False,
        monitor=monitor,
        around=Around(interrupts or Interrupts(), watch),
    )
    return network, history


def settings_of(**given):
    return resolved(TrainingSettings(**({"epochs": 4, "batch_size": 16} | given)))


def test_the_same_seed_gives_the_same_history_and_weights():
    (one, first), (other, second) = trained(settings_of()), trained(settings_of())
    assert first.columns["loss"] == second.columns["loss"]
    assert first.columns["val_loss"] == second.columns["val_loss"]
    for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("ordered", [True, False])
def test_ordered_examples_stay_in_order_in_every_epoch(ordered):
    train, asked = lines(64, 0), []

    def inputs(which, length):
        asked.append(int(which[0]))
        return train.inputs(which, length)

    trained(settings_of(batch_size=4), train=replace(train, inputs=inputs, ordered=ordered))
    looks = len(asked) % 16  # at a batch, to know its shape; on TensorFlow at two
    assert looks in (1, 2)
    in_order = [4 * k for k in range(16)]
    epochs = [asked[k : k + 16] for k in range(looks, len(asked), 16)]
    assert len(epochs) == 4
    assert all((epoch == in_order) == ordered for epoch in epochs)


def test_another_seed_gives_another_history():
    _, first = trained(settings_of())
    _, second = trained(settings_of(seed=1))
    assert first.columns["loss"] != second.columns["loss"]


def test_training_ends_with_the_weights_of_the_best_validation_loss():
    # So large a step oscillates around the best slope.
    settings = settings_of(epochs=6, optimizer="sgd", learning_rate=0.95, clipnorm=0.0, patience=0)
    network, history = trained(settings)
    losses = history.columns["val_loss"]
    assert losses[-1] > min(losses), "the last epoch must not be the best for this to say anything"
    assert history.best_epoch == int(np.argmin(losses)) + 1
    valid = lines(32, 1)
    x, y = valid.inputs(np.arange(32), 1)["steps"], valid.targets(np.arange(32))
    kept = float(np.mean((network.predict(x, verbose=0) - y) ** 2))
    assert kept == pytest.approx(min(losses), rel=1e-4)


def scripted(values, *, higher):
    """A monitor that returns these values, one per epoch, whatever the network does."""
    left = iter(values)
    return Monitor("f1", higher, lambda: next(left))


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [
        ([0.1, 0.7, 0.3, 0.2], True, 2),
        ([0.4, 0.7, 0.1, 0.2], False, 3),
        ([float("nan"), 0.1, 0.2, float("nan")], True, 3),
    ],
)
def test_the_monitored_metric_determines_the_best_epoch(values, higher, best):
    settings = settings_of(epochs=4, patience=0)
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(optimizer=optimizer(settings, 100), loss="mse")
    weights = []

    def watch(now, epoch_over):
        if epoch_over:
            weights.append(network.get_weights())

    monitor = scripted(values, higher=higher)
    history = fit(
        network,
        lines(64, 0),
        lines(32, 1),
        settings,
        padded=False,
        monitor=monitor,
        around=Around(watch=watch),
    )
    assert history.best_epoch == best
    np.testing.assert_array_equal(history.columns["val_f1"], values)
    for kept, then in zip(network.get_weights(), weights[best - 1], strict=True):
        np.testing.assert_array_equal(kept, then)


def test_of_equal_metrics_the_lower_validation_loss_decides():
    settings = settings_of(epochs=6, optimizer="sgd", learning_rate=0.95, clipnorm=0.0, patience=0)
    _, history = trained(settings, monitor=scripted([0.5] * 6, higher=True))
    losses = history.columns["val_loss"]
    assert history.best_epoch == int(np.argmin(losses)) + 1 < 6


def test_patience_counts_by_the_monitored_metric():
    monitor = scripted([0.5, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], higher=True)
    _, history = trained(settings_of(epochs=8, patience=3), monitor=monitor)
    assert len(history.columns["loss"]) == 5
    assert history.stopped == "no better validation f1 for 3 epochs"


def test_patience_ends_training_and_says_so():
    # Validation has the opposite slope, so every epoch makes it worse.
    _, history = trained(settings_of(epochs=30, patience=2), valid=lines(32, 1, slope=-9.0))
    assert len(history.columns["loss"]) < 30
    assert history.stopped == "no better validation loss for 2 epochs"


def test_patience_0_never_stops():
    _, history = trained(settings_of(epochs=9, patience=0), valid=lines(32, 1, slope=-9.0))
    assert len(history.columns["loss"]) == 9
    assert history.stopped == ""


@pytest.mark.parametrize("held_out", [True, False])
def test_a_loss_that_is_not_a_number_stops_with_likely_causes(held_out):
    settings = settings_of(optimizer="sgd", learning_rate=1e30, clipnorm=0.0)
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(optimizer=optimizer(settings, 100), loss="mse")
    valid = lines(32, 1) if held_out else None
    with pytest.raises(TrainingError) as raised:
        fit(network, lines(64, 0), valid, settings, padded=False, monitor=LOSS)
    for cause in ("learning_rate", "clipnorm", "preparation.scale"):
        assert cause in str(raised.value)


@pytest.mark.parametrize("held_out", [True, False])
def test_a_diverging_loss_stops_before_it_is_nan(held_out):
    seen = []
    settings = settings_of(epochs=9, optimizer="sgd", learning_rate=10.0, clipnorm=0.0, patience=0)
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(optimizer=optimizer(settings, 100), loss="mse")
    valid = lines(32, 1) if held_out else None
    with pytest.raises(TrainingError, match=r"The loss diverges: .* Likely causes") as raised:
        fit(
            network,
            lines(64, 0),
            valid,
            settings,
            padded=False,
            monitor=LOSS,
            around=Around(watch=lambda now, over: seen.append(now.loss) if over else None),
        )
    assert np.isfinite(seen).all() and seen[-1] > 1e6 * seen[0]
    assert all(loss <= 1e6 * seen[0] for loss in seen[:-1])
    assert "training.learning_rate" in str(raised.value)


@pytest.mark.parametrize(("losses", "ends"), [((1e-9, 0.5), False), ((-3.0, 2e6), False)])
def test_a_loss_that_began_near_zero_or_below_may_grow(losses, ends):
    look = _divergence_check()
    for epoch, loss in enumerate(losses):
        look(epoch, {"loss": loss})
    with pytest.raises(TrainingError, match="in epoch 3"):
        look(2, {"loss": 4e6 * max(1.0, abs(losses[0]))})


def test_a_training_that_failed_leaves_nothing_behind(series_file, forecast_settings, tmp_path):
    broken = forecast_settings | {
        "training": {"epochs": 2, "optimizer": "sgd", "learning_rate": 1e38, "clipnorm": 0.0}
    }
    with pytest.raises(TrainingError):
        gatewise.train(series_file, settings=broken, output=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_reported_after_each_step_and_each_epoch():
    seen = []
    settings = settings_of(epochs=2)
    trained(settings, watch=lambda now, over: seen.append((now.epoch, now.step, over)))
    assert seen == [
        (epoch, step, over)
        for epoch in (1, 2)
        for step, over in [(1, False), (2, False), (3, False), (4, False), (4, True)]
    ]


def test_the_epoch_line_shows_loss_metric_best_epoch_distance_and_time():
    monitor = Monitor("mae", baseline="repeat last", baseline_value=0.5)
    now = Progress(9, 1, monitor, 3, loss=1.0, value=0.4, best=0.3, best_epoch=2, seconds_left=70)
    assert now.line() == (
        "epoch 3/9  loss 1.0000  val mae 0.4000  best 0.3000 (epoch 2)  "
        "0.1000 below repeat last  at most 1:10 left"
    )


def test_the_epoch_line_shows_no_time_before_a_step_was_timed():
    assert Progress(9, 1, LOSS, 1, loss=1.0).line() == "epoch 1/9  loss 1.0000"


def interrupted(folder, source, after):
    """Start a long training from the command line, and press Ctrl-C when this text appears."""
    # Processes of a test run in the background ignore Ctrl-C; those of a terminal do not.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "from gatewise.shell.cli import main; main()"
    command = [sys.executable, "-c", start, "train", str(source), "-o", str(folder)]
    command += ["--horizon", "4", "--lookback", "8", "--epochs", "5000", "--seed", "0"]
    command += ["--set", "network.units=3", "--set", "training.patience=0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    ) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if after in line:
                process.send_signal(signal.SIGINT)
                after = "only once"
    return process.returncode, "".join(said)


def test_ctrl_c_saves_what_was_learned_and_says_so(series_file, tmp_path):
    status, said = interrupted(tmp_path / "run", series_file, after="epoch 3/")
    assert status == 0, said
    assert "Ctrl-C" in said
    run = gatewise.load(tmp_path / "run")
    assert "Ctrl-C" in run.metrics["stopped"]
    history = pl.read_csv(tmp_path / "run" / "history.csv")
    assert 3 <= history.height < 5000
    best = int(history["val_loss"].arg_min()) + 1
    assert run.metrics["best_epoch"] == best
    assert f"epoch {best}." in said


@pytest.fixture
def at_a_terminal():
    """Ctrl-C interrupts, even if the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Pressing(logging.Handler):
    """A log handler that presses Ctrl-C when a word appears."""

    def __init__(self, word, times=1):
        super().__init__()
        self.word, self.times = word, times

    def emit(self, record):
        if self.word in record.getMessage():
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.fixture
def pressing(at_a_terminal):
    log, made = logging.getLogger("gatewise"), []
    level = log.level
    log.setLevel(logging.INFO)

    def at(word, times=1):
        made.append(Pressing(word, times))
        log.addHandler(made[-1])

    yield at
    log.setLevel(level)
    for one in made:
        log.removeHandler(one)


def test_ctrl_c_during_the_evaluation_keeps_the_network(
    pressing, sequences_file, classify_settings, classify_run, tmp_path
):
    pressing("Nearest neighbour")
    run = gatewise.train(sequences_file, settings=classify_settings, output=tmp_path / "run")
    assert run.evaluation is None
    assert "The evaluation was skipped on request" in repr(run)
    saved = gatewise.load(tmp_path / "run")
    for left, right in zip(
        saved.model.get_weights(), gatewise.load(classify_run).model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(left, right)
    assert "The evaluation was skipped on request" in (tmp_path / "run/report.html").read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["run"]
    assert gatewise.evaluate(saved, sequences_file)["verdict"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def pressed(times, series_file, settings, folder, **options):
    """Train, and press Ctrl-C this many times at the end of the first epoch."""

    def watch(now, epoch_over):
        if epoch_over and now.epoch == 1:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return gatewise.train(series_file, settings=settings, output=folder, watch=watch, **options)


def test_a_second_ctrl_c_in_training_skips_the_evaluation_and_keeps_the_rest(
    at_a_terminal, series_file, forecast_settings, tmp_path
):
    once = pressed(1, series_file, forecast_settings, tmp_path / "once")
    twice = pressed(2, series_file, forecast_settings, tmp_path / "twice")
    assert once.evaluation is not None
    assert twice.evaluation is None
    assert len(twice.history.columns["loss"]) == 1
    assert_frame_equal(
        gatewise.predict(tmp_path / "twice", series_file),
        gatewise.predict(tmp_path / "once", series_file),
    )


def test_a_third_ctrl_c_aborts_and_keeps_the_previous_run(
    at_a_terminal, series_file, forecast_settings, forecast_run, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        pressed(3, series_file, forecast_settings, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    before = shutil.copytree(forecast_run, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        pressed(3, series_file, forecast_settings, before, overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]
    gatewise.load(before)


def test_ctrl_c_before_training_leaves_nothing_and_says_so(series_file, tmp_path):
    status, said = interrupted(tmp_path / "run", series_file, after="taken as the target")
    if "epoch 1/" in said:
        pytest.skip("training had begun before the signal came")
    assert status == 130
    assert "stopped; nothing was saved" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def rates(settings, steps=100):
    made = optimizer(settings, steps)
    schedule = made._learning_rate
    if not callable(schedule):
        return [float(made.learning_rate)] * 3
    return [float(schedule(step)) for step in (0, steps // 2, steps)]


def test_a_constant_rate_is_the_one_given():
    assert rates(settings_of(learning_rate=0.1)) == pytest.approx([0.1] * 3)


def test_rate_0_is_the_default_of_the_optimizer():
    assert rates(settings_of(optimizer="sgd")) == pytest.approx([0.01] * 3)


def test_cosine_falls_to_zero_along_half_a_cosine():
    found = rates(settings_of(learning_rate=0.1, schedule="cosine"))
    assert found == pytest.approx([0.1, 0.05, 0.0], abs=1e-6)


def test_exponential_falls_to_a_hundredth():
    found = rates(settings_of(learning_rate=0.1, schedule="exponential"))
    assert found == pytest.approx([0.1, 0.01, 0.001], rel=1e-3)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup_rises_from_zero_over_its_share(schedule):
    made = optimizer(settings_of(learning_rate=0.1, schedule=schedule, warmup=0.2), 100)
    at = [float(made._learning_rate(step)) for step in (0, 10, 20)]
    assert at == pytest.approx([0.0, 0.05, 0.1], abs=1e-6)
    end = float(made._learning_rate(100))
    assert end == pytest.approx(0.1 if schedule == "constant" else 0.0, abs=1e-6)


@pytest.mark.parametrize("schedule", ["exponential", "plateau"])
def test_warmup_goes_with_constant_and_cosine_only(schedule):
    with pytest.raises(ConfigError, match="warmup needs training.schedule = constant or cosine"):
        optimizer(settings_of(schedule=schedule, warmup=0.1), 100)


def test_plateau_lowers_the_rate_when_validation_stands_still():
    settings = settings_of(
        epochs=6, schedule="plateau", patience=3, learning_rate=0.01, optimizer="sgd"
    )
    _, history = trained(settings, valid=lines(32, 1, slope=-9.0))
    assert history.columns["learning_rate"][-1] < 0.01


def test_clipping_and_options_reach_the_optimizer():
    made = optimizer(
        settings_of(optimizer="sgd", clipnorm=0.5, optimizer_options={"momentum": 0.9}), 10
    )
    assert (made.clipnorm, made.momentum) == (0.5, 0.9)
    assert optimizer(settings_of(clipnorm=0.0), 10).clipnorm is None
    assert optimizer(settings_of(clipvalue=0.3), 10).clipvalue == 0.3


def test_clipping_given_as_an_option_replaces_the_default():
    made = optimizer(settings_of(optimizer_options={"global_clipnorm": 2.0}), 10)
    assert (made.global_clipnorm, made.clipnorm) == (2.0, None)


def test_an_unknown_optimizer_is_refused_by_name():
    with pytest.raises(ConfigError, match="'adamant'"):
        optimizer(settings_of(optimizer="adamant"), 10)


def test_an_unknown_optimizer_option_is_refused_by_name():
    with pytest.raises(ConfigError, match="momentun"):
        optimizer(settings_of(optimizer="sgd", optimizer_options={"momentun": 0.9}), 10)


def test_balanced_class_weights_give_each_class_the_same_weight():
    labels = np.array(["a"] * 9 + ["b"] * 3)
    sequences = from_arrays([np.arange(5.0) + k for k in range(12)], labels=labels)
    experiment = Experiment().having("training", class_weight="balanced")
    preparation, _ = classify.prepare(sequences, experiment)
    some = classify.examples(sequences, preparation, experiment, "train")
    assert some.weights[:9].sum() == pytest.approx(some.weights[9:].sum())
    assert some.weights.mean() == pytest.approx(1.0)
    batch = Feed(some, 12, padded=False, random=None)[0]
    np.testing.assert_allclose(batch[2], some.weights)
    assert classify.examples(sequences, preparation, experiment, "validation").weights is None


def test_the_pinball_loss_is_its_definition():
    random = np.random.default_rng(0)
    levels = (0.1, 0.5, 0.9)
    truth = random.normal(size=(5, 4, 2, 1))
    given = random.normal(size=(5, 4, 2, 3))
    total = np.zeros(5)
    for place, level in enumerate(levels):
        error = truth[..., 0] - given[..., place]
        total += np.where(error >= 0, level * error, (level - 1) * error).mean(axis=(1, 2))
    loss = forecast_loss(TrainingSettings(), levels)(
        truth.astype(np.float32), given.astype(np.float32)
    )
    np.testing.assert_allclose(np.asarray(loss), 2 * total / 3, rtol=1e-5)


def test_the_median_alone_gives_the_absolute_error():
    random = np.random.default_rng(0)
    truth, given = random.normal(size=(2, 5, 4, 2, 1)).astype(np.float32)
    loss = np.asarray(forecast_loss(TrainingSettings(), (0.5,))(truth, given))
    np.testing.assert_allclose(loss, np.abs(truth - given).mean(axis=(1, 2, 3)), rtol=1e-5)
    metric = np.asarray(forecast_metric((0.5,))(truth, given))
    np.testing.assert_allclose(metric, loss, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("mae", np.abs),
        ("mse", np.square),
        ("MeanAbsoluteError", np.abs),
        ("huber", lambda e: np.where(np.abs(e) <= 1, e**2 / 2, np.abs(e) - 0.5)),
    ],
)
def test_a_named_forecast_loss_is_that_of_keras(name, definition):
    random = np.random.default_rng(0)
    truth, given = 2 * random.normal(size=(2, 5, 4, 2, 1)).astype(np.float32)
    loss = forecast_loss(TrainingSettings(loss=name), ())(truth, given)
    assert float(np.mean(np.asarray(loss))) == pytest.approx(
        definition(truth - given).mean(), rel=1e-5
    )


@pytest.mark.parametrize(
    "name", ["auto", "sparse_categorical_crossentropy", "categorical_crossentropy"]
)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_its_definition_however_it_is_named(name, smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1, 2], dtype=np.int32)
    settings = TrainingSettings(loss=name, label_smoothing=smoothing)
    wanted = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = classify_loss(settings, 3)(labels, logits)
    assert float(np.mean(np.asarray(loss))) == pytest.approx(
        -(wanted * logs).sum(axis=1).mean(), rel=1e-5
    )


@pytest.mark.parametrize("make", [lambda s: forecast_loss(s, ()), lambda s: classify_loss(s, 3)])
def test_an_unknown_loss_is_refused_by_name(make):
    with pytest.raises(ConfigError, match="'maee'"):
        make(TrainingSettings(loss="maee"))


def test_a_request_to_skip_cuts_validation_short_and_that_epoch_is_not_the_best():
    asked, valid, epochs = Interrupts(), lines(32, 1), []

    def ask():
        epochs.append(len(epochs) + 1)
        return float(epochs[-1])

    def inputs(which, length):
        if epochs:  # a validation batch in epoch 2, followed by others
            asked.level, asked.by = SKIP, "Ctrl-C"
        return valid.inputs(which, length)

    _, history = trained(
        settings_of(batch_size=4),
        valid=replace(valid, inputs=inputs),
        monitor=Monitor("f1", True, ask),
        interrupts=asked,
    )
    assert len(history.columns["loss"]) == 2
    assert history.best_epoch == 1
    assert np.isnan(history.columns["val_loss"][1])
    assert np.isnan(history.columns["val_f1"][1])


def test_a_request_to_skip_cuts_the_metric_short_and_that_epoch_is_not_the_best():
    asked, values = Interrupts(), iter([0.5])

    def ask():
        value = next(values, None)
        if value is None:
            asked.level, asked.by = SKIP, "Ctrl-C"
            raise Skipped  # like `checkpoint` between two batches
        return value

    _, history = trained(settings_of(), monitor=Monitor("f1", True, ask), interrupts=asked)
    assert len(history.columns["loss"]) == 2
    assert history.best_epoch == 1
    assert np.isnan(history.columns["val_f1"][1])


def test_a_request_to_stop_ends_training_after_the_next_step():
    asked, steps = Interrupts(), []

    def watch(now, epoch_over):
        if not epoch_over:
            steps.append(now.epoch)
            asked.level, asked.by = STOP, "SIGTERM"

    _, history = trained(settings_of(batch_size=1), watch=watch, interrupts=asked)
    assert len(steps) <= 4, "steps that were dealt already may still come"
    assert history.stopped == "stopped by SIGTERM in epoch 1"

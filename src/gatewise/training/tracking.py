"""Send a training to MLflow or TensorBoard while it runs."""

import contextlib
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatewise.errors import ConfigError
from gatewise.extras import require
from gatewise.settings import Experiment
from gatewise.training.progress import Progress

log = logging.getLogger("gatewise")

Watch = Callable[[Progress, bool], None]
Log = Callable[[Mapping[str, float], int], None]  # numbers by name, and the epoch (0: the end)
BOARD = "tensorboard"  # the folder of event files, beside the run folder


@dataclass
class Tracker:
    """Sends the numbers of one run to MLflow or TensorBoard."""

    log: Log
    note: Callable[[Mapping[str, str]], None]  # the settings, in full
    trainings: int = 0  # so far: a run may train several networks, or one again on everything

    def watch(self, progress: Progress, epoch_over: bool) -> None:
        """Send the numbers of an epoch; from the second training on, its number is in the names."""
        if not epoch_over:
            return
        if progress.epoch == 1 or not self.trainings:
            self.trainings += 1
        prefix = f"training_{self.trainings}/" if self.trainings > 1 else ""
        numbers = {"loss": progress.loss, f"val_{progress.monitor.name}": progress.value}
        known = {f"{prefix}{name}": one for name, one in numbers.items() if one == one}
        self.log(known, progress.epoch)

    def finish(self, experiment: Experiment, metrics: Mapping[str, Any]) -> None:
        """Send the resolved settings, and the scores on the test part."""
        sections = asdict(experiment).items()
        self.note(
            {
                f"{section}.{key}": str(one)
                for section, keys in sections
                for key, one in keys.items()
            }
        )
        scores = {f"test_{name}": one for name, one in (metrics.get("metrics") or {}).items()}
        for kind in ("mean", "deviation"):
            of_seeds = (metrics.get("repeats") or {}).get(kind, {})
            scores |= {f"test_{name}_{kind}": one for name, one in of_seeds.items()}
        self.log({name: float(one) for name, one in scores.items() if one == one}, 0)


def both(watch: Watch | None, tracker: Tracker | None) -> Watch | None:
    """A watch that calls both of them."""
    if tracker is None:
        return watch

    def each(progress: Progress, epoch_over: bool) -> None:
        tracker.watch(progress, epoch_over)
        if watch is not None:
            watch(progress, epoch_over)

    return each


@contextlib.contextmanager
def tracked(kind: str, folder: Path | None) -> Iterator[Tracker | None]:
    """The tracker of this kind; None for "".

    Raises:
        ConfigError: there is no such kind, its package is not installed, or there is no folder.
    """
    if not kind:
        yield None
        return
    if kind not in KINDS:
        raise ConfigError(f"--track must be one of {', '.join(KINDS)}. Received: {kind!r}.")
    if folder is None:
        raise ConfigError("--track needs an output folder, whose name is that of the tracked run.")
    with KINDS[kind](folder) as tracker:
        yield tracker


@contextlib.contextmanager
def _mlflow(folder: Path) -> Iterator[Tracker]:
    """A run of MLflow, in the store that MLFLOW_TRACKING_URI names or else MLflow's default."""
    mlflow = require("mlflow", "mlflow", "--track mlflow")
    failures = (mlflow.exceptions.MlflowException, OSError)
    try:
        active = mlflow.start_run(run_name=folder.name)
        mlflow.set_tag("gatewise.run", str(folder.resolve()))
    except failures as error:
        store = _without_password(mlflow.get_tracking_uri())
        raise ConfigError(f"MLflow does not begin a run in {store}: {_first_line(error)}") from None
    log.info("%s", place_in_mlflow(mlflow.get_tracking_uri(), active.info))
    failed = False

    def send(call: Callable[..., Any], *given: Any, **more: Any) -> None:
        nonlocal failed
        try:
            call(*given, **more)
        except failures as error:  # a server that is away must not end a training
            if not failed:
                log.warning("MLflow does not take the numbers: %s", _first_line(error))
            failed = True

    with active:
        yield Tracker(
            lambda numbers, epoch: send(mlflow.log_metrics, dict(numbers), step=epoch),
            lambda settings: send(mlflow.log_params, dict(settings)),
        )


def place_in_mlflow(uri: str, run: Any) -> str:
    """Where a run of MLflow is, and how to look at it."""
    shown = _without_password(uri)
    text = f"Tracked in MLflow as run {run.run_name}, in {shown}"
    if shown.startswith(("http://", "https://")):
        server = re.sub(r"://[^/@]*@", "://", shown).rstrip("/")
        return f"{text}. Its page: {server}/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    if "://" in shown:
        command = f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
        return f"{text}. To look at it, install the package mlflow and run: {command}"
    return f"{text}."  # a name that MLflow knows, such as databricks


def _without_password(uri: str) -> str:
    return re.sub(r"(://[^/@:]*:)[^/@]*@", r"\1...@", uri)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _tensorboard(folder: Path) -> Iterator[Tracker]:
    """An event file in `tensorboard/` beside the run folder.

    TensorBoard's own EventFileWriter would import TensorFlow wherever that is installed.
    """
    purpose = "--track tensorboard"
    records = require("tensorboard.summary.writer.record_writer", "tensorboard", purpose)
    event = require("tensorboard.compat.proto.event_pb2", "tensorboard", purpose)
    summaries = require("tensorboard.compat.proto.summary_pb2", "tensorboard", purpose)
    text = require("tensorboard.plugins.text.metadata", "tensorboard", purpose)
    tensors = require("tensorboard.util.tensor_util", "tensorboard", purpose)
    place = folder.parent / BOARD / folder.name
    path = place / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
    writer = records.RecordWriter(file)
    command = f"tensorboard --logdir {shlex.quote(str(place.parent))}"
    log.info("Tracked in %s. To look at it: %s", place, command)

    def write_event(**content: Any) -> None:
        writer.write(event.Event(wall_time=time.time(), **content).SerializeToString())
        writer.flush()

    def write(values: list[Any], epoch: int) -> None:
        write_event(step=epoch, summary=summaries.Summary(value=values))

    def numbers_of(numbers: Mapping[str, float], epoch: int) -> None:
        value = summaries.Summary.Value
        write([value(tag=name, simple_value=one) for name, one in numbers.items()], epoch)

    def note(settings: Mapping[str, str]) -> None:
        lines = "\n".join(f"    {name} = {value}" for name, value in settings.items())
        content = tensors.make_tensor_proto(lines.encode(), dtype=None, shape=())
        metadata = text.create_summary_metadata("settings", "")
        write([summaries.Summary.Value(tag="settings", tensor=content, metadata=metadata)], 0)

    write_event(file_version="brain.Event:2")
    try:
        yield Tracker(numbers_of, note)
    finally:
        writer.close()


KINDS = {"mlflow": _mlflow, "tensorboard": _tensorboard}

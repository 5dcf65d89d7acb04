"""A finished run: what is saved of it, and its report."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError
from gatewise.inspection.model import inspected
from gatewise.judging.evaluation import Evaluation
from gatewise.judging.protocol import Judged
from gatewise.output import writing_file
from gatewise.reporting.report import draw, summary
from gatewise.runs import artefact as artefacts
from gatewise.runs.artefact import Artefact
from gatewise.runs.record import metrics_of, splits_of
from gatewise.training.progress import History


@dataclass(frozen=True)
class Run:
    """A finished run."""

    artefact: Artefact
    history: History
    evaluation: Evaluation | None
    metrics: Mapping[str, Any]  # the content of metrics.json

    def __repr__(self) -> str:
        """One line, for the prompt of Python."""
        verdict = self.metrics.get("verdict")
        sentence = verdict["sentence"] if verdict else self.metrics["unjudged"]
        return f"<Run of {self.artefact!r}: {sentence}>"

    def _repr_html_(self) -> str:
        """The verdict and the scores, because notebooks display them."""
        return summary(self.metrics)

    @property
    def model(self) -> keras.Model:
        """The trained Keras model."""
        return self.artefact.network

    def stream(self, *, window: int | None = None, every: int | None = None, id: str = "") -> Any:
        """A `gatewise.Stream` of this run."""
        return self.artefact.stream(window=window, every=every, id=id)


def finished(
    judged: Judged,
    folder: Path | None,
    preparation: Preparation[Any] | None = None,
    evaluation: Evaluation | None = None,
    seconds: float = 0.0,
    seen: Sequences | None = None,
) -> Run:
    """Everything that is saved of a run; without metrics if the evaluation was skipped.

    `seconds` are those of the evaluation, and `seen` is what the network was trained on after it.
    """
    history, baselines = judged.history, judged.baselines
    ready = replace(judged.ready, preparation=preparation or judged.ready.preparation)
    metrics = metrics_of(ready, baselines, history, evaluation, seconds)
    model = artefacts.plain(ready.task.network.inference_model(ready.network))
    metrics |= {"run": str(folder or ""), "parameters": model.count_params()}
    if ready.validation is not None and evaluation is not None:
        metrics |= {"inspection": inspected(model, ready)}
    artefact = Artefact(
        folder,
        ready.experiment,
        ready.preparation,
        model,
        baselines.state,
        metrics,
        splits_of(ready.splits, seen),
    )
    return Run(artefact, history, evaluation, metrics)


def report(run: Run | Artefact | str | Path, *, overwrite: bool = False) -> Path:
    """Write the report of a saved run again, and return its path.

    A report that differs from the saved one was edited: only `overwrite` replaces it.

    Raises:
        ArtefactError: a file that the report is drawn from is damaged or missing.
        ConfigError: the report was edited, or cannot be written.
    """
    folder = artefacts.folder_of(run)
    files = (artefacts.SETTINGS, artefacts.METRICS, artefacts.HISTORY, artefacts.ENVIRONMENT)
    artefacts.verify(folder, files)
    path = folder / artefacts.REPORT
    record = artefacts.read_record(folder, artefacts.format_of(folder))
    with artefacts.intact(folder / artefacts.METRICS):
        drawn = draw(record)
    existing = path.read_bytes() if path.is_file() else None
    if existing == drawn.encode():
        return path
    if existing is not None and not (overwrite or artefacts.as_saved(path)):
        raise ConfigError(
            f"{path} is not the report that was saved with the run: it was edited, so it is kept. "
            "Give --overwrite (overwrite=True) to replace it, or move it away first."
        )
    try:
        with writing_file(path, overwrite=True) as draft:
            draft.write_text(drawn, encoding="utf-8")
        artefacts.seal_again(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path

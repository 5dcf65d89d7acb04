"""What is written down of a run: metrics.json, and which steps are in which part."""

from typing import Any

from gatewise import engine
from gatewise.data.sequences import Sequences, comparable, fingerprint
from gatewise.data.splits import Parts
from gatewise.evaluation import Evaluation
from gatewise.readers.datasets import DATASETS, path_of
from gatewise.ready import Ready, part_sizes
from gatewise.training import History, column_of
from gatewise.validation import FittedBaselines


def metrics_of(
    ready: Ready,
    baselines: FittedBaselines,
    history: History,
    judged: Evaluation | None,
    evaluating: float,
) -> dict[str, Any]:
    """The content of metrics.json: what `--json` prints and the report shows.

    `evaluating` is the seconds that the evaluation took.
    """
    seconds = {
        "read": ready.seconds,
        "baselines": baselines.seconds,
        "train": history.seconds,
        "evaluate": evaluating,
    }
    found: dict[str, Any] = {
        "task": ready.task.name,
        "data": data_name(ready.experiment.data.path),
        "answer": ready.task.answer_name(ready.preparation),
        "metrics": judged.metrics if judged else {},
        "alone": judged.alone if judged else {},
        "baselines": judged.baselines if judged else {},
        "verdict": judged.verdict if judged else None,
        "comparisons": judged.comparisons if judged else [],
        "caveats": [
            *interruption(history.stopped, history.best_epoch),
            *(judged.caveats if judged else []),
        ],
        "seconds": seconds | {"total": sum(seconds.values())},
        "engine": engine.used_by(ready.network),
        "epochs": len(history.columns.get("epoch", [])),
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "parts": part_sizes(ready),
        "notes": ready.notes,
        "details": judged.details if judged else {},
    }
    if judged is not None:
        rows = {"rows": judged.table.height, "answers": judged.shown, "of": judged.answers}
        found["predictions"] = rows
    else:
        found["unjudged"] = (
            "There was no test part, so there is no verdict."
            if ready.test is None
            else "The evaluation was skipped on request, so there is no verdict."
        )
    if ready.validation is not None:
        found["validation"] = {
            "metric": f"val_{column_of(baselines.monitor.name)}",
            "baseline": baselines.monitor.baseline,
            "value": baselines.monitor.baseline_value,
        }
    if ready.task.name == "forecast":
        scaled = ready.experiment.evaluation.scaled
        found["units_note"] = (
            "errors of scaled values" if scaled else "errors in the target's own units"
        )
    return found


def interruption(stopped: str, best_epoch: int) -> list[str]:
    """A sentence that belongs beside the verdict, when training was ended from outside."""
    if not stopped.startswith("stopped by"):
        return []
    return [f"Training was interrupted: {stopped}. The weights are those of epoch {best_epoch}."]


def data_name(path: str) -> str:
    """A shipped data set goes by its name, not by where it is installed."""
    named = (name for name in DATASETS if path == str(path_of(name)))
    return next(named, path) or "data in memory"


def splits_of(parts: Parts) -> dict[str, Any]:
    """Which steps of which sequence are in which part, counted from the beginning of each.

    The fingerprints are those of the training part, by which its data are known again.
    """
    found: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        part: Sequences | None = getattr(parts, name)
        if part is not None:
            begins, ends = part.starts - part.first, part.stops - part.first
            found[name] = [
                list(row)
                for row in zip(part.ids.tolist(), begins.tolist(), ends.tolist(), strict=True)
            ]
    found["fingerprints"] = [fingerprint(steps) for steps in comparable(parts.train)]
    return {"columns": ["id", "first step", "step after the last"]} | found

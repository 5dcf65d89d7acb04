"""Does a training that is killed at any moment and resumed end like one that never was?

    [KERAS_BACKEND=torch] python benchmarks/kills.py [TASK ...] [--kills 20] [--seed 0]

Trains once for each task without interruption. Then trains the same into another folder in
processes that SIGKILL ends at random moments, every second time while a checkpoint is written, and
continues with --resume until a process finishes. Weights, history, metrics and predictions of both
folders must be the same, bit for bit. Checkpoints are written at every step, whatever they cost, so
that each process leaves some. Writes benchmarks/results/kills-BACKEND.json, in which the
other tasks keep their rows.
"""

import argparse
import csv
import importlib
import io
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gatewise.shell import cli
from gatewise.training import checkpoints

RESULTS = Path(__file__).parent / "results"
DROPOUT = ["--set", "network.dropout=0.2", "--set", "evaluation.n_resamples=100"]
TASKS = {
    "forecast": ["seattle-weather", "--set", "network.units=[8]", "--epochs", "3"],
    "detect": [
        "seattle-weather",
        "--task",
        "detect",
        "--epochs",
        "3",
        "--set",
        "network.units=[8]",
    ],
    "classify": ["japanese-vowels", "--set", "network.units=[8]", "--epochs", "6"],
    "regress": [
        *("japanese-vowels", "--task", "regress", "--epochs", "6", "--set", "network.units=[8]"),
    ],
    "tag": ["ewt-sample", "--set", "network.units=[8]", "--epochs", "2"],
    "language": ["shakespeare", "--set", "network.units=[8]", "--epochs", "1"],
    "translate": [
        *("numbers", "--set", "network.units=[8]", "--epochs", "1"),
        *("--set", "training.batch_size=128"),
    ],
    "transcribe": ["spoken-words", "--set", "network.units=[8]", "--epochs", "8"],
}


def start(
    words: list[str], log: Path, *, out: Path | None = None, given: Path | None = None
) -> int:
    """The number of a process that runs `gatewise` with these words.

    Its output goes to `log`, standard output to `out` if there is one, and `given` is its standard
    input. It is a copy of this one, which has imported the packages already.
    """
    process = os.fork()
    if process:
        return process
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    if given is not None:
        os.dup2(os.open(given, os.O_RDONLY), 0)
    os.dup2(os.open(log, written), 2)
    os.dup2(2 if out is None else os.open(out, written), 1)
    sys.argv = ["gatewise", *words]
    status: Any = 1
    try:
        cli.entry()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)


def finished(process: int, log: Path) -> float:
    """The processor time of a process that has ended by itself; an error if it failed."""
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"The training failed:\n{log.read_text()[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def killed(process: int, folder: Path, *, writing: bool, wait: float) -> str:
    """Kill the process after `wait` seconds of training: where it was, or "" if it has ended.

    Training begins with the first checkpoint of the process. If `writing`, the process is killed
    while the draft of a checkpoint exists.
    """
    draft = folder.with_name(f"{folder.name}.checkpoint.partial")
    written = folder.with_name(f"{folder.name}.checkpoint")
    before = modified(written)
    began = math.inf
    while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if math.isinf(began) and modified(written) != before:
            began = time.perf_counter()
        if time.perf_counter() - began >= wait and (draft.exists() or not writing):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return "while writing" if draft.exists() else "between checkpoints"
        time.sleep(0.0002)
    return ""


def modified(path: Path) -> int:
    """When a file was written; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def content(folder: Path) -> dict[str, Any]:
    """Everything that must not depend on an interruption."""
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item)

    with zipfile.ZipFile(folder / "model.keras") as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as file:
        file.visititems(note)
    with (folder / "history.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    metrics = json.loads((folder / "metrics.json").read_text())
    predictions = (folder / "predictions.csv").read_bytes()
    return found | {"history": rows, "metrics": metrics["metrics"], "predictions": predictions}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs, with the largest difference of weights."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        left, right = one.get(name), other.get(name)
        if isinstance(left, np.ndarray):
            if left.tobytes() != np.asarray(right).tobytes():
                found.append(f"{name}: {np.abs(left - right).max():.2g}")
        elif left != right:
            found.append(name)
    return found


def train(task: str, folder: Path, log: Path, *more: str) -> int:
    """The number of a process that trains for a task."""
    return start(["train", *TASKS[task], *DROPOUT, "-o", str(folder), *more], log)


def trial(task: str, kills: int, draw: random.Random, folder: Path) -> dict[str, Any]:
    """One task: trained as a whole, and killed and resumed."""
    log, whole, cut = folder / "log", folder / "whole", folder / "cut"
    began = time.perf_counter()
    seconds = finished(train(task, whole, log), log)
    longest = time.perf_counter() - began
    places: list[str] = []
    while not cut.exists():
        process = train(task, cut, log, "--resume")
        wait = draw.uniform(0, longest / (4 * kills))
        place = ""
        if len(places) < kills:
            place = killed(process, cut, writing=bool(len(places) % 2), wait=wait)
        if place:
            resumed = [one for one in log.read_text().splitlines() if "continues" in one]
            print(f"  killed {place}; {resumed[-1] if resumed else 'from the start'}", flush=True)
            places.append(place)
        else:
            finished(process, log)
    left = sorted(one.name for one in folder.iterdir() if one.name not in ("log", "whole", "cut"))
    return {
        "task": task,
        "kills": len(places),
        "while_writing": places.count("while writing"),
        "cpu_seconds_whole": round(seconds, 1),
        "differences": differences(content(whole), content(cut)),
        "left": left,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--kills", type=int, default=20, help="over all tasks")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # The processes train as `gatewise train` does, but with checkpoints at every step.
    checkpoints.SHARE, checkpoints.WITHIN = math.inf, 0.0
    # Several threads of TensorFlow sum in no fixed order, so that even a repeated run differs.
    for pool in ("INTRAOP", "INTEROP"):
        os.environ.setdefault(f"TF_NUM_{pool}_THREADS", "1")
    importlib.import_module("gatewise.pipeline")
    tasks = given.tasks or list(TASKS)
    draw, found = random.Random(given.seed), []
    for k, task in enumerate(tasks):
        with tempfile.TemporaryDirectory() as folder:
            kills = given.kills // len(tasks) + (k < given.kills % len(tasks))
            found.append(trial(task, kills, draw, Path(folder)))
        print(json.dumps(found[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"kills-{os.environ.get('KERAS_BACKEND', 'jax')}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {one["task"]: one for one in before}
    for one in found:
        rows[one["task"]] = {k: len(v) if isinstance(v, list) else v for k, v in one.items()}
    kept = [rows[task] for task in TASKS if task in rows]
    path.write_text(json.dumps({"rows": kept}, indent=1) + "\n")
    sys.exit(any(one["differences"] or one["left"] for one in found))


if __name__ == "__main__":
    main()

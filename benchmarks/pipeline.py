"""How much slower is training through gatewise than a plain `model.fit` on arrays in memory?

    python benchmarks/pipeline.py [--rounds 7]

Uses the same network, batch size, data and kernels. gatewise and the plain script alternate in one
process, with one epoch each per round; the result is the median time per step over the rounds.
Writes benchmarks/results/pipeline.json.
"""

import argparse
import itertools
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gatewise import engine
from gatewise.arguments import experiment_for
from gatewise.data.batches import Examples
from gatewise.judging.repeats import learn
from gatewise.networks import build
from gatewise.runs.artefact import environment
from gatewise.runtime.predicting import as_keras
from gatewise.training.progress import Monitor
from gatewise.training.ready import Ready, compile_network, make_ready

RESULTS = Path(__file__).parent / "results" / "pipeline.json"
ENGINES = ("stock", "native")  # the faster a step, the larger the share of the overhead
WORKLOADS = {
    "image rows: T28 I28 LSTM(64) BatchNorm Dense(10), batch 64, SGD": (
        (np.random.default_rng(0).integers(0, 256, (12_800, 28, 28), dtype=np.uint8)),
        "classify",
        {
            "network": {"units": [64], "normalization": "batch"},
            "training": {"optimizer": "sgd", "batch_size": 64, "clipnorm": 0.0},
        },
    ),
    "window: T96 C1 LSTM(64), horizon 24, batch 32, Adam": (
        np.random.default_rng(0).normal(size=6_000).cumsum(),
        "forecast",
        {
            "task": {"lookback": 96, "horizon": 24, "season": 1},
            "network": {"kind": "stack", "units": [64]},
            "training": {"batch_size": 32, "loss": "mae"},
        },
    ),
}


def ready_for(source: np.ndarray, task: str, settings: dict) -> Ready:
    data = source
    if task == "classify":
        data = (source, np.arange(len(source)) % 10)
    sections = {"task": {"name": task}, "split": {"validation": 0.0, "test": 0.0}}
    for name, keys in settings.items():
        sections[name] = sections.get(name, {}) | keys
    experiment, held = experiment_for(data, [sections])
    return make_ready(experiment, held)


def all_arrays(some: Examples) -> tuple[np.ndarray, np.ndarray]:
    which = np.arange(len(some))
    return as_keras(some.inputs(which, int(some.lengths[0]))), some.targets(which)


def measure(ready: Ready, rounds: int) -> dict[str, float]:
    """Seconds per step of gatewise and of the plain script, in alternation."""
    plain = build(
        ready.task.shapes(ready.train, ready.preparation),
        ready.experiment.network,
        network=ready.task.network,
        task=ready.task.name,
    )
    compile_network(plain, ready)
    x, y = all_arrays(ready.train)
    size = ready.experiment.training.batch_size
    steps = -(-len(y) // size)
    one_epoch = replace(ready, experiment=ready.experiment.having("training", epochs=1))
    times: dict[str, list[float]] = {"gatewise": [], "plain": []}
    for turn in range(rounds + 1):
        began = time.perf_counter()
        learn(one_epoch, Monitor("loss"), None)
        between = time.perf_counter()
        plain.fit(x, y, batch_size=size, epochs=1, verbose=0)
        ended = time.perf_counter()
        if turn:  # the first round compiles
            times["gatewise"].append((between - began) / steps)
            times["plain"].append((ended - between) / steps)
    ratios = [ours / theirs for ours, theirs in zip(times["gatewise"], times["plain"], strict=True)]
    return {
        "gatewise_ms": 1e3 * statistics.median(times["gatewise"]),
        "plain_ms": 1e3 * statistics.median(times["plain"]),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "rounds": rounds,
        "steps": steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    found = {}
    for (work, (source, task, settings)), kind in itertools.product(WORKLOADS.items(), ENGINES):
        name = f"{work}; {kind} LSTM"
        with engine.accelerated(engine=kind):
            found[name] = measure(ready_for(source, task, settings), rounds)
        one = found[name]
        print(
            f"{name}\n  a step: gatewise {one['gatewise_ms']:.3f} ms, "
            f"plain {one['plain_ms']:.3f} ms; "
            f"ratio {one['ratio']:.3f} ({one['lowest']:.3f} to {one['highest']:.3f})"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps({"environment": environment(), "workloads": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()

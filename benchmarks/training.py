"""How much faster is a step of `model.fit` with the engine?

    python benchmarks/training.py [--backend jax] [--rounds 9] [--only NAME ...] [--no-torch]
                                  [--products bfloat16] [--grid] [--one-core] [--suffix=-intel]

Compares stock Keras on one backend with the same network on the engine, in alternation, each in a
separate process that waits while the other is timed; on JAX, if PyTorch is installed, also with a
hand-written training loop around its own nn.LSTM; with --products also with the engine and such
products. Results are medians over rounds; a ratio is the
median of the ratios of the rounds. Writes benchmarks/results/training.json, for another backend
training-torch.json and so on, or training-grid.json with --grid.

--suffix becomes part of the name of that file, so that it stands beside that of another processor.

With --one-core, both run on one core, and the figures are processor time: they mean something on a
machine that is busy with other work as well. The files are then called training-one-core.json and
so on.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if "--backend" in sys.argv:  # before Keras is imported, which reads it then; processes inherit it
    os.environ["KERAS_BACKEND"] = sys.argv[sys.argv.index("--backend") + 1]

if "--one-core" in sys.argv:  # before the frameworks are imported, which count the cores then
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import gatewise  # chooses JAX where nothing is chosen, and so comes before Keras
from gatewise.engine.contract import PRODUCTS
from gatewise.runs.artefact import environment

import keras  # isort: skip

RESULTS = Path(__file__).parent / "results"
LOOP = Path(__file__).parent / "torch_loop.py"
ONE_CORE = "--one-core" in sys.argv
SECONDS = 0.7  # per round of one contestant
clock = time.process_time if ONE_CORE else time.perf_counter
random = np.random.default_rng(0)


@dataclass(frozen=True)
class Workload:
    """One network and its data."""

    name: str
    network: Callable[[], keras.Model]
    arrays: Callable[[int], tuple[Any, Any]]  # number of sequences -> arrays
    batch: int
    least: float  # the required ratio to stock Keras
    aim: float
    optimizer: str = "adam"
    loss: str = "mse"
    torch: str = ""  # the name of its loop in torch_loop.py


def numbers(*shape: int) -> Callable[[int], tuple[Any, Any]]:
    return lambda count: (
        random.normal(size=(count, *shape)).astype("float32"),
        random.normal(size=(count, 1)).astype("float32"),
    )


def rows(count: int) -> tuple[Any, Any]:
    return random.random((count, 28, 28), dtype=np.float32), random.integers(0, 10, count)


def words(shortest: int) -> Callable[[int], tuple[Any, Any]]:
    """Sequences of up to 200 words, padded with zeros."""

    def make(count: int) -> tuple[Any, Any]:
        x = random.integers(1, 20_000, (count, 200))
        x[np.arange(200) >= random.integers(shortest, 201, (count, 1))] = 0
        return x, random.integers(0, 2, (count, 1)).astype("float32")

    return make


def language(count: int) -> tuple[Any, Any]:
    x = random.normal(size=(count, 35, 650)).astype("float32")
    return x, np.zeros((count, 35, 650), "float32")


def image_rows() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.LSTM(64),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, "softmax"),
        ]
    )


def window() -> keras.Model:
    return keras.Sequential([keras.Input((96, 7)), keras.layers.LSTM(128), keras.layers.Dense(1)])


def text(*, masked: bool = True, **options: Any) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((200,), dtype="int32"),
                keras.layers.Embedding(20_000, 128, mask_zero=masked),
                keras.layers.LSTM(128, **options),
                keras.layers.Dense(1, "sigmoid"),
            ]
        )

    return make


def both_ways() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((200,), dtype="int32"),
            keras.layers.Embedding(20_000, 128, mask_zero=True),
            keras.layers.Bidirectional(keras.layers.LSTM(64)),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )


def two_layers() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((35, 650)),
            keras.layers.LSTM(650, return_sequences=True),
            keras.layers.LSTM(650, return_sequences=True),
        ]
    )


BINARY = "binary_crossentropy"
WORKLOADS = [
    Workload(
        "image rows: T28 I28 H64 B64, BatchNorm, Dense(10), SGD",
        *(image_rows, rows, 64, 3.0, 3.6, "sgd", "sparse_categorical_crossentropy", "rows"),
    ),
    Workload(
        "forecast: T96 I7 H128 B32, Dense, Adam",
        *(window, numbers(96, 7), 32, 3.0, 3.5, "adam", "mse", "window"),
    ),
    Workload(
        "text: Embedding(20000,128), LSTM(128), T200 B32",
        *(text(masked=False), words(200), 32, 2.5, 3.2, "adam", BINARY, "text"),
    ),
    Workload(
        "the same, masked, mean length about half",
        *(text(), words(10), 32, 4.0, 5.5, "adam", BINARY),
    ),
    Workload(
        "the same, recurrent_dropout 0.2",
        *(text(masked=False, recurrent_dropout=0.2), words(200), 32, 2.4, 3.0, "adam", BINARY),
    ),
    Workload(
        "Bidirectional(LSTM(64)), masked",
        *(both_ways, words(10), 32, 4.0, 5.5, "adam", BINARY),
    ),
    Workload(
        "LM: two LSTM(650), T35 B20",
        *(two_layers, language, 20, 2.2, 2.7, "sgd", "mse", "language"),
    ),
]
PREDICT = [(one, 2.0, 2.4) for one in WORKLOADS[:3]]
BACKEND = keras.backend.backend()
# The bars and aims on other backends, by the workloads that have any there.
BARS = {
    "tensorflow": {
        WORKLOADS[0].name: (3.0, 4.0),
        WORKLOADS[1].name: (3.0, 4.0),
        WORKLOADS[3].name: (4.0, 6.0),
        WORKLOADS[4].name: (6.0, 8.0),
        WORKLOADS[6].name: (3.0, 3.5),
    },
    "torch": {
        WORKLOADS[0].name: (6.0, 8.0),
        WORKLOADS[1].name: (12.0, 15.0),
        WORKLOADS[3].name: (12.0, 18.0),
        WORKLOADS[4].name: (9.0, 12.0),
        WORKLOADS[6].name: (1.5, 1.8),
    },
}


class Fit:
    """Seconds a step of `fit`, or of `predict`, or of `predict` of one sequence at a time."""

    def __init__(self, work: Workload, *, engine: str, how: str = "fit") -> None:
        self.work, self.how = work, how
        keras.utils.set_random_seed(0)
        self.model = work.network()
        self.model.compile(optimizer=work.optimizer, loss=work.loss)
        self.steps = 2
        products = engine if engine in PRODUCTS else "float32"
        gatewise.accelerate(engine != "stock", products=products)
        self.seconds()  # compiles, where the framework does
        self.steps = 10
        self.steps = max(10, int(SECONDS / self.seconds()))

    def seconds(self) -> float:
        work = self.work
        one = self.how == "one"
        x, y = work.arrays(self.steps * (1 if one else work.batch))
        began = clock()
        if one:
            for n in range(self.steps):
                self.model.predict(x[n : n + 1], verbose=0)
        elif self.how == "predict":
            self.model.predict(x, batch_size=work.batch, verbose=0)
        else:
            self.model.fit(x, y, batch_size=work.batch, epochs=1, verbose=0, shuffle=False)
        return (clock() - began) / self.steps


class Contestant:
    """Seconds per step, from a separate process that runs one round per request."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.seconds()  # warms up

    def seconds(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        seconds, *peak = self.process.stdout.readline().split()
        self.peak = float(peak[0]) if peak else None  # MiB
        return float(seconds)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def answer(engine: str, work: Workload, how: str) -> None:
    """What the process of a contestant does: seconds a step, and its memory at the most."""
    contestant = Fit(work, engine=engine, how=how)
    for _ in sys.stdin:
        seconds = contestant.seconds()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(seconds, peak, flush=True)


def compare(contestants: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Median seconds, and the median ratio of each contestant to the engine."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, one in contestants.items():
            times[name].append(one.seconds())
    found = {f"{name} ms": 1000 * statistics.median(some) for name, some in times.items()}
    for name in contestants:
        if name != "ours":
            ratios = [
                theirs / ours for theirs, ours in zip(times[name], times["ours"], strict=True)
            ]
            found[f"{name} / ours"] = statistics.median(ratios)
            found[f"{name} / ours, least and most"] = [min(ratios), max(ratios)]
    peaks = {name: one.peak for name, one in contestants.items() if one.peak}
    return found | {f"{name} MiB": peak for name, peak in peaks.items()}


def measure(
    work: Workload, rounds: int, *, torch: bool, how: str = "fit", products: str = ""
) -> Any:
    engines = {"stock": "stock", "ours": "gatewise"} | ({products: products} if products else {})
    contestants = {
        name: Contestant(
            *(__file__, "--contestant", engine, how, work.name),
            *(["--one-core"] if ONE_CORE else []),
        )
        for name, engine in engines.items()
    }
    if torch and work.torch and how == "fit" and BACKEND == "jax" and not ONE_CORE:
        contestants["torch"] = Contestant(str(LOOP), work.torch, str(SECONDS))
    try:
        return compare(contestants, rounds)
    finally:
        for one in contestants.values():
            one.close()


def sized(units: int, batch: int, steps: int) -> Workload:
    def network() -> keras.Model:
        return keras.Sequential(
            [keras.Input((steps, 8)), keras.layers.LSTM(units), keras.layers.Dense(1)]
        )

    name = f"T{steps} I8 H{units} B{batch}"
    return Workload(name, network, numbers(steps, 8), batch, 1.0, 1.0, "sgd")


# LSTM(H) and Dense(1) in all sizes that one machine trains in reasonable time.
GRID = [
    sized(units, batch, steps)
    for units, batch, steps in itertools.product((1, 16, 64, 256, 1024), (1, 32, 256), (1, 50, 500))
    if units * units * batch * steps <= 2e9
]


def skipped(name: str, only: list[str]) -> bool:
    return bool(only) and not any(part in name for part in only)


# In the names of files.
OF_BACKEND = ("" if BACKEND == "jax" else f"-{BACKEND}") + ("-one-core" if ONE_CORE else "")


def jobs() -> list[tuple[Workload, float, float, str]]:
    """What is measured on this backend, with its bar and its aim."""
    if BACKEND == "jax":
        found = [(one, one.least, one.aim, "fit") for one in WORKLOADS]
        found += [(one, least, aim, "predict") for one, least, aim in PREDICT]
    else:
        bars = BARS[BACKEND]
        found = [(one, *bars[one.name], "fit") for one in WORKLOADS if one.name in bars]
    return found + [(WORKLOADS[0], 1.5, 1.5, "one")]


def beside_ours(row: dict[str, Any], name: str) -> str:
    """What is printed of another contestant, if it took part."""
    if f"{name} / ours" not in row:
        return ""
    least, most = row[f"{name} / ours, least and most"]
    return (
        f"  {name} {row[f'{name} ms']:.2f} ms, / ours {row[f'{name} / ours']:.2f} "
        f"({least:.2f} to {most:.2f})"
    )


def write(name: str, asked: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Write the rows so far; with --only, beside the others of the file if they were made alike."""
    path = RESULTS / name
    report: dict[str, Any] = {"environment": environment(), "rounds": asked.rounds}
    if asked.only and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if report != {key: before[key] for key in report}:
            return
        new = {row["workload"] for row in rows}
        rows = [row for row in before["rows"] if row["workload"] not in new] + rows
    path.write_text(json.dumps(report | {"rows": rows}, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default=BACKEND)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--products", choices=PRODUCTS[1:], default="")
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--suffix", default="")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.contestant:
        engine, how, name = asked.contestant
        (work,) = (one for one in WORKLOADS + GRID if one.name == name)
        answer(engine, work, how)
        return
    found = []
    if asked.grid:
        for work in GRID:
            if skipped(work.name, asked.only):
                continue
            timed = measure(work, asked.rounds, torch=False, products=asked.products)
            found.append(row := {"workload": work.name} | timed)
            write(f"training-grid{OF_BACKEND}{asked.suffix}.json", asked, found)
            beside = beside_ours(row, asked.products)
            print(f"{work.name:24} stock / ours {row['stock / ours']:.2f}{beside}", flush=True)
    else:
        for work, least, aim, how in jobs():
            name = {"fit": "", "predict": "predict, ", "one": "predict one, "}[how] + work.name
            if skipped(name, asked.only):
                continue
            row = measure(
                *(work, asked.rounds),
                torch=not asked.no_torch,
                how=how,
                products=asked.products,
            )
            bars = {} if ONE_CORE else {"least": least, "aim": aim}  # of the elapsed time
            row = {"workload": name} | bars | row
            found.append(row)
            write(f"training{OF_BACKEND}{asked.suffix}.json", asked, found)
            beside = beside_ours(row, "torch") + beside_ours(row, asked.products)
            print(
                f"{name}\n    stock {row['stock ms']:.2f} ms  ours {row['ours ms']:.2f} ms  "
                f"stock / ours {row['stock / ours']:.2f} (bar {least}, aim {aim}){beside}"
                f"  memory {row['stock MiB']:.0f} and {row['ours MiB']:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()

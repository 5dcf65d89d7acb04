"""How close are the kernels to the fastest matrix product on this machine?

    python benchmarks/kernel.py [--rounds 7] [--suffix=-intel]

Times the forward pass (with the reserve, as in training) and the backward pass (all gradients) of
one layer, called outside any framework. Compares them with sgemm of 1536 x 1536 by NumPy, XLA and,
if installed, PyTorch, whichever is fastest, on the same number of threads, in alternation. Counts
only the operations of the products: 8 H (I + H) B T forward and twice as many backward. Writes
benchmarks/results/kernel.json, or kernel-intel.json for another processor.
"""

import argparse
import contextlib
import ctypes
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gatewise.engine import library
from gatewise.engine.contract import ACTIVATIONS, PRODUCTS
from gatewise.runs.artefact import environment

RESULTS = Path(__file__).parent / "results"
SHAPES = [  # steps, features, units, batch
    (28, 28, 64, 64),
    (100, 64, 64, 128),
    (96, 7, 128, 32),
    (200, 128, 128, 32),
    (100, 256, 256, 64),
    (35, 650, 650, 20),
    (50, 1024, 1024, 64),
]
SIDE = 1536
PAUSE, LONG = 0.3, 0.15  # seconds before a measurement, and per measurement
random = np.random.default_rng(0)


def empty(*shape: int) -> np.ndarray:
    """An array aligned to a cache line, like those of XLA."""
    size = int(np.prod(shape))
    room = np.empty(size + 16, "float32")
    start = -room.ctypes.data % 64 // 4
    return room[start : start + size].reshape(shape)


def normal(*shape: int, spread: float = 1.0) -> np.ndarray:
    array = empty(*shape)
    array[...] = random.normal(0, spread, shape)
    return array


def pointer(array: np.ndarray) -> int:
    return array.ctypes.data


class Passes:
    """The arrays of one layer, and calls of its two passes."""

    def __init__(
        self, steps: int, features: int, units: int, batch: int, products: str = "float32"
    ) -> None:
        self.native = library.load()
        size = batch * library.reserve_size(steps, units)
        self.arrays = {
            "x": normal(batch, steps, features),
            "kernel": normal(features, 4 * units, spread=features**-0.5),
            "recurrent_kernel": normal(units, 4 * units, spread=units**-0.5),
            "bias": normal(4 * units, spread=0.1),
            "y": empty(batch, steps, units),
            "h": empty(batch, units),
            "c": empty(batch, units),
            "reserve": empty(size),
        }
        self.layer = library.Layer(
            batch,
            steps,
            features,
            units,
            double_precision=0,
            products=PRODUCTS.index(products),
            activation=ACTIVATIONS.index("tanh"),
            recurrent_activation=ACTIVATIONS.index("sigmoid"),
            start_output=1,
            y_batch_stride=steps * units,
            y_step_stride=units,
        )
        for name, array in self.arrays.items():
            setattr(self.layer, name, pointer(array))
        self.out = {
            "dx": empty(batch, steps, features),
            "dh0": empty(batch, units),
            "dc0": empty(batch, units),
            "dkernel": empty(features, 4 * units),
            "drecurrent_kernel": empty(units, 4 * units),
            "dbias": empty(4 * units),
        }
        self.dy = normal(batch, steps, units)
        self.gradient = library.Gradient(
            dy=pointer(self.dy), dy_batch_stride=steps * units, dy_step_stride=units
        )
        for name, array in self.out.items():
            setattr(self.gradient, name, pointer(array))
        self.products = 8 * units * (features + units) * batch * steps

    def forward(self) -> None:
        assert self.native.gatewise_lstm_forward(ctypes.byref(self.layer), 1) == 0

    def backward(self) -> None:
        status = self.native.gatewise_lstm_backward(
            ctypes.byref(self.layer), ctypes.byref(self.gradient), 1
        )
        assert status == 0


def products() -> list[Callable[[], object]]:
    a, b, c = normal(SIDE, SIDE), normal(SIDE, SIDE), normal(SIDE, SIDE)
    placed, times = jax.device_put(a), jax.jit(jnp.matmul)
    found: list[Callable[[], object]] = [
        lambda: np.matmul(a, b, out=c),
        lambda: times(placed, placed).block_until_ready(),
    ]
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(library.threads())
        left, right, result = (torch.from_numpy(one) for one in (a, b, c))
        found.append(lambda: torch.mm(left, right, out=result))
    return found


def seconds(*calls: Callable[[], object]) -> list[float]:
    """The median seconds of each of these calls, made repeatedly, one after the other.

    It pauses first, because the threads of the previous measurement still poll for a while.
    """
    time.sleep(PAUSE)
    taken: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + LONG
    while len(taken[0]) < 5 or time.perf_counter() < end:
        for call, some in zip(calls, taken, strict=True):
            began = time.perf_counter()
            call()
            some.append(time.perf_counter() - began)
    return [statistics.median(some[1:]) for some in taken]


def measure(shape: tuple[int, int, int, int], rounds: int) -> dict[str, object]:
    passes, sgemms = Passes(*shape), products()
    kept: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        # The backward pass overwrites the reserve, so each needs a forward pass before it.
        forward, backward = seconds(passes.forward, passes.backward)
        best = min(seconds(call)[0] for call in sgemms)
        rates = (passes.products / forward, 2 * passes.products / backward, 2 * SIDE**3 / best)
        for some, rate in zip(kept, rates, strict=True):
            some.append(rate / 1e9)
    forward_rate, backward_rate, top = map(statistics.median, kept)
    return {
        "shape": "T{} I{} H{} B{}".format(*shape),
        "sgemm GF/s": top,
        "forward GF/s": forward_rate,
        "backward GF/s": backward_rate,
        "forward of sgemm": forward_rate / top,
        "backward of sgemm": backward_rate / top,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--suffix", default="")
    asked = parser.parse_args()
    rows = []
    for shape in SHAPES:
        row = measure(shape, asked.rounds)
        rows.append(row)
        print(
            f"{row['shape']:22} forward {row['forward GF/s']:5.0f} GF/s "
            f"({row['forward of sgemm']:.0%} of sgemm)  backward {row['backward GF/s']:5.0f} "
            f"({row['backward of sgemm']:.0%})  sgemm {row['sgemm GF/s']:5.0f}",
            flush=True,
        )
    report = {
        "environment": environment(),
        "threads": library.threads(),
        "instruction set": library.isa(),
        "rounds": asked.rounds,
        "rows": rows,
    }
    path = RESULTS / f"kernel{asked.suffix}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Shared fixtures."""

import gc
import gzip
import logging
import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from pathlib import Path

import hypothesis
import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.data.sequences import from_arrays
from gatewise.readers.datasets import path_of, settings_of

# These tests spend most of their time compiling small programs that run only a few times. Compiled
# programs are therefore cached, for all processes and for the next run, and not optimised. JAX
# reads these variables when it is imported (nothing above imports it), here and in the processes
# that tests start. Tests of the rounding of optimised programs switch the optimisations on
# (`optimised`).
CACHE = Path(__file__).parents[1] / "build" / "jax-cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# Without its fusion emitters, and without threads that share one small program, XLA compiles in a
# quarter of the time. It ends the process if it does not know a flag.
QUICK = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}


def known_to_xla(flag: str) -> bool:
    for library in Path(find_spec("jaxlib").origin).parent.glob("*.so"):
        with library.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            if content.find(b"\0" + flag.encode() + b"\0") >= 0:
                return True
    return False


if find_spec("jaxlib"):
    flags = [f"--{flag}={value}" for flag, value in QUICK.items() if known_to_xla(flag)]
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))

# As many processes as cores run the tests, so more threads in each only wait for one another: the
# suite on PyTorch, whose idle threads spin, takes 10 s instead of 25. Tests of several threads set
# their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# One network, judged on one test part, because an ensemble takes many times as long.
os.environ.setdefault("GATEWISE_QUALITY", "fast")

# The tests of the tasks make small data that other tests use as well, and so do two others.
TESTS = Path(__file__).parent
sys.path += [str(folder) for folder in (TESTS / "tasks").iterdir() if folder.is_dir()]
sys.path += [str(TESTS / "fuzz"), str(TESTS / "runtime")]

# No deadline per example, because a busy machine is not a failure.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


SLOW = frozenset((TESTS / "slow.txt").read_text(encoding="utf-8").split())  # by slow.py


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.partition("[")[0] in SLOW:
            item.add_marker("slow")
    # They take minutes each, so that one process would work alone if they came last.
    items.sort(key=lambda item: item.path.name != "test_backends.py")


def load_fewer_dialects():
    """Let JAX describe programs with the dialects of MLIR that they use.

    It makes a context for each program and loads all dialects that it has, mostly those of GPUs
    and TPUs, into each. That takes a fifth of the time of these tests.
    """
    from jax._src.interpreters import mlir
    from jax._src.lib.mlir import dialects

    def make_ir_context():
        context = mlir.JaxIrContext()
        context.append_dialect_registry(mlir.upstream_dialects)
        context.set_thread_pool(mlir.global_thread_pool)
        assert context.dialects["func"]  # loads it
        for one in (dialects.sdy, dialects.mpmd, dialects.chlo, dialects.hlo):
            one.register_dialect(context)
        dialects.mhlo.register_mhlo_dialect(context)
        return context

    make_ir_context()  # fails here if JAX has changed
    mlir.make_ir_context = make_ir_context


def pytest_collectstart():
    """Spare imports the garbage collector, and Keras a TensorFlow that it does not run on."""
    gc.disable()
    if "keras" in sys.modules and "tensorflow" not in sys.modules:
        from keras.src.utils import module_utils

        module_utils.tensorflow._available = False


def pytest_collection_finish():
    """Leave imported objects out of all later garbage collections, and collect less often.

    Collections take a tenth of the time otherwise.
    """
    pytest_collectstart()  # for a Keras that the last module imported
    if "jax" in sys.modules:
        with suppress(ImportError, AttributeError, TypeError):  # they are JAX's own
            load_fewer_dialects()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def log_as_before():
    """Take back the handlers and the level that the command line gives to the log.

    Otherwise a test that runs a command in its own process repeats the notes of later tests.
    """
    log = logging.getLogger("gatewise")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.fixture
def optimised():
    """Compile programs with the optimisations that users have (but see `QUICK`)."""
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def data_folder() -> Path:
    """The folder of larger public data sets; skips the test if there is none."""
    folder = os.environ.get("GATEWISE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GATEWISE_DATA does not name a folder of data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def digits():
    """The shipped images [1797, 8, 8], and their labels."""
    with np.load(path_of("digits")) as file:
        arrays = {name: file[name] for name in file.files}
    x = next(one for one in arrays.values() if one.ndim == 3)
    y = next(one for one in arrays.values() if one.ndim == 1)
    return x.astype(np.float32), y


@pytest.fixture(scope="session")
def series_file(tmp_path_factory) -> Path:
    """150 days of one series with a weekly cycle, ending on the last day of a month."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "load.csv"
    days = np.datetime64("2023-05-31") - np.arange(149, -1, -1) * np.timedelta64(1, "D")
    loads = 10 + np.sin(np.arange(150) * 2 * np.pi / 7) + 0.1 * random.normal(size=150)
    pl.DataFrame({"day": days, "load": loads.round(4)}).write_csv(path)
    return path


@pytest.fixture(scope="session")
def sequences_file(tmp_path_factory) -> Path:
    """40 labelled sequences of 4 to 9 steps of two columns; the labels are not ASCII."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "walks.csv"
    rows = [
        {"id": f"walk {k}", "x": random.normal() + k % 2, "y": random.normal(), "label": label}
        for k in range(40)
        for label in [("größer", "日本")[k % 2]]
        for _ in range(random.integers(4, 10))
    ]
    pl.DataFrame(rows).write_csv(path)
    return path


# Two equal batches of the 94 windows of `series_file`, and of the 28 sequences of `sequences_file`
# in the training parts: a last batch that is smaller is a second program to trace and to compile.


@pytest.fixture(scope="session")
def forecast_settings() -> dict:
    """Settings of a minimal training."""
    return {
        "task": {"name": "forecast", "horizon": 4, "lookback": 8, "season": 7},
        "network": {"units": [3]},
        "training": {"epochs": 2, "batch_size": 47},
        "evaluation": {"n_resamples": 100},
    }


@pytest.fixture(scope="session")
def classify_settings() -> dict:
    """Settings of a minimal training."""
    return {
        "task": {"name": "classify"},
        "network": {"units": [3]},
        "training": {"epochs": 2, "batch_size": 14},
        "evaluation": {"n_resamples": 100},
    }


@pytest.fixture(scope="session")
def forecast_run(series_file, forecast_settings, tmp_path_factory) -> Path:
    """A saved run that forecasts; do not write into it."""
    folder = tmp_path_factory.mktemp("runs") / "forecast"
    gatewise.train(series_file, settings=forecast_settings, output=folder)
    return folder


@pytest.fixture(scope="session")
def classify_run(sequences_file, classify_settings, tmp_path_factory) -> Path:
    """A saved run that classifies; do not write into it."""
    folder = tmp_path_factory.mktemp("runs") / "classify"
    gatewise.train(sequences_file, settings=classify_settings, output=folder)
    return folder


@pytest.fixture
def random():
    return np.random.default_rng(11)


@pytest.fixture(scope="session")
def vowels():
    """Train and test of Japanese Vowels: sequences and class positions."""
    data = settings_of("japanese-vowels")["data"]
    return [read_ts(Path(data[key])) for key in ("path", "test")]


def read_ts(path):
    lines = gzip.decompress(path.read_bytes()).decode().strip().splitlines()
    cases = [line.split(":") for line in lines[lines.index("@data") + 1 :]]
    arrays = [np.array([row.split(",") for row in case[:-1]], dtype=float).T for case in cases]
    return from_arrays(arrays), np.array([int(case[-1]) - 1 for case in cases])

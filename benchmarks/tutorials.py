"""How much faster do the scripts of the tutorials become?

    GATEWISE_DATA=... python benchmarks/tutorials.py [--only NAME ...] [--epochs 10]

Each script of tests/tutorials, by `python` and by `gatewise run`, on each backend that it names
and that is installed. A figure is the time of the whole script, imports included; of MNIST also
that of `fit` over ten epochs and of ten calls of `predict` with one digit each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

TUTORIALS = Path(__file__).parents[1] / "tests" / "tutorials"


def run(script: str, backend: str, home: Path, *, ours: bool, epochs: int) -> dict[str, float]:
    """Seconds: of the whole script, and those that it prints."""
    inherited = {name: text for name, text in os.environ.items() if name != "KERAS_BACKEND"}
    environment = {
        "PYTHONPATH": str(TUTORIALS / "offline"),
        "KERAS_HOME": str(home),
        "EPOCHS": str(epochs),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if script != "mnist_rows.py":
        environment["KERAS_BACKEND"] = backend
    command = [
        sys.executable,
        *(["-m", "gatewise", "run"] if ours else []),
        str(TUTORIALS / script),
    ]
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=inherited | environment
    )
    found = {"script": time.perf_counter() - began}
    for line in done.stdout.splitlines():
        if line.startswith("seconds"):
            name, _, number = line.removeprefix("seconds of ").rpartition(" ")
            found[name] = float(number)  # of `fit`, the longer one, which comes last
        elif line.startswith("val_accuracy"):
            found["val_accuracy"] = float(line.split()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args()
    sys.path.insert(0, str(TUTORIALS))
    from mnist import put_in_place
    from test_tutorials import SCRIPTS, TOGETHER

    with tempfile.TemporaryDirectory() as folder:
        put_in_place(Path(os.environ["GATEWISE_DATA"]), Path(folder))
        each = [
            (script, backend)
            for scripts, backend in SCRIPTS
            for script in scripts.removeprefix(f"{TOGETHER} ").split()
        ]
        for script, backend in each:
            if not find_spec(backend) or (asked.only and not any(o in script for o in asked.only)):
                continue
            stock, ours = (
                run(script, backend, Path(folder), ours=ours, epochs=asked.epochs)
                for ours in (False, True)
            )
            for name, found in stock.items():
                line = f"{script} on {backend}, {name}: stock {found:.4g}  ours {ours[name]:.4g}"
                if name != "val_accuracy":
                    line += f"  stock / ours {found / ours[name]:.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()

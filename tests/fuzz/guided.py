"""Read files that a coverage-guided fuzzer makes; needs `pip install atheris`.

    python tests/fuzz/guided.py --seconds 1800 --seed 1 --keep FOLDER

The first byte of an input chooses the name of the file, the second the task; the rest is the
content. Each fault is written to FOLDER and printed, as by `reading.py`.
"""

import importlib
import os
import pkgutil
import random
import sys
import tempfile
import time
import types
import warnings
from pathlib import Path

from corpus import found, seeds
from mutations import mutated
from reading import arguments, faults

from gatewise import readers
from gatewise.tasks import TASKS

NAMES = tuple(dict.fromkeys([*seeds(), *found()]))


def instrument() -> None:
    """Count the branches of all functions of the readers and of the tasks' reading.

    Import hooks of atheris miss packages that are installed as editable.
    """
    names = [f"gatewise.readers.{one.name}" for one in pkgutil.iter_modules(readers.__path__)]
    import atheris

    for name in [*names, *(f"gatewise.tasks.{task}.reading" for task in TASKS)]:
        module = importlib.import_module(name)
        for value in vars(module).values():
            if isinstance(value, types.FunctionType) and value.__module__ == name:
                atheris.instrument_func(value)


def main() -> None:
    """Feed the readers until the time is over."""
    import atheris  # not one of the packages that the tests need

    given = arguments(__doc__)
    instrument()
    warnings.simplefilter("error")
    given.keep.mkdir(parents=True, exist_ok=True)
    folder, corpus = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    tasks, seen, count = ["", *TASKS], set[str](), 0
    until = time.monotonic() + given.seconds

    def read(given_bytes: bytes) -> None:
        nonlocal count
        if time.monotonic() > until:
            sys.stdout.write(f"{count} inputs, {len(seen)} faults\n")
            sys.stdout.flush()
            os._exit(0)
        if len(given_bytes) < 2:
            return
        name = NAMES[given_bytes[0] % len(NAMES)]
        task = tasks[given_bytes[1] % len(tasks)]
        path = folder / name
        path.write_bytes(given_bytes[2:])
        count += 1
        for fault in faults(path, [task] if task else []):
            if fault not in seen:
                seen.add(fault)
                (given.keep / f"{count}-{name}").write_bytes(given_bytes[2:])
                sys.stdout.write(f"{count}-{name}: {fault}\n")
                sys.stdout.flush()
        path.unlink()

    def mutate(given_bytes: bytes, limit: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < 0.3:
            return atheris.Mutate(given_bytes, limit)
        return (given_bytes[:2] + mutated(given_bytes[2:], draw))[:limit]

    for number, name in enumerate(NAMES):
        content = (seeds() | found())[name]
        for task in range(len(tasks)):
            (corpus / f"{number}-{task}").write_bytes(bytes([number, task]) + content)
    options = [
        f"-artifact_prefix={given.keep}/",
        "-max_len=20000",
        f"-seed={given.seed + 1}",
        "-rss_limit_mb=6000",
        "-timeout=1000000",  # by the clock; 0 ends the process at an input of one second
    ]
    atheris.Setup([sys.argv[0], str(corpus), *options], read, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

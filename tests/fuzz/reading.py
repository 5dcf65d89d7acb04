"""Read mutated files with every task that could read them, and report what is not a sentence.

    python tests/fuzz/reading.py --seconds 300 --seed 1 --keep FOLDER

Each input that raises anything but a GatewiseError, takes 10 seconds, or takes 20 times its size
and 64 MB of memory is written to FOLDER and printed.
"""

import argparse
import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from corpus import seeds
from mutations import mutated

from gatewise.errors import GatewiseError
from gatewise.settings import DataSettings
from gatewise.tasks import TASKS, guess_task, read

SLOW = 10.0  # seconds
LARGE = 64 << 20  # bytes beyond 20 times the file


def faults(path: Path, tasks: list[str]) -> Iterator[str]:
    """What goes wrong when a file is read by these tasks, and when its task is guessed."""
    settings = DataSettings(path=str(path))
    for task in ["", *tasks]:
        began, before = time.process_time(), _peak()
        try:
            if task:
                read(settings, None, task=task)
            else:
                guess_task(settings)
        except GatewiseError as error:
            if len(str(error)) > 5000:
                yield f"{task or 'guess'}: a message of {len(str(error))} characters"
        except (Exception, pl.exceptions.PanicException) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            yield f"{task or 'guess'}: {type(error).__name__} at {place.filename}:{place.lineno}"
        if (seconds := time.process_time() - began) > SLOW:
            yield f"{task or 'guess'}: {seconds:.0f} seconds"
        if (grown := _peak() - before) > 20 * path.stat().st_size + LARGE:
            yield f"{task or 'guess'}: {grown >> 20} MB of memory"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def inputs(seed: int) -> Iterator[tuple[str, bytes]]:
    """Endless mutations of all seeds: a name and a content."""
    source, corpus = random.Random(seed), list(seeds().items())
    while True:
        for name, content in corpus:
            yield name, mutated(content, source)


def arguments(description: str | None) -> argparse.Namespace:
    """How long to read, from which seed, and the folder for the inputs of faults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("faults"))
    return parser.parse_args()


def main() -> None:
    """Read mutations until the time is over."""
    given = arguments(__doc__)
    warnings.simplefilter("error")
    seen: dict[str, int] = {}
    began, count = time.monotonic(), 0
    with TemporaryDirectory() as folder:
        for name, content in inputs(given.seed):
            if time.monotonic() - began > given.seconds:
                break
            path = Path(folder) / name
            path.write_bytes(content)
            count += 1
            for fault in faults(path, list(TASKS)):
                seen[fault] = seen.get(fault, 0) + 1
                if seen[fault] == 1:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{count}-{name}").write_bytes(content)
                    sys.stdout.write(f"{count}-{name}: {fault}\n")
            path.unlink()
    sys.stdout.write(f"{count} inputs, {len(seen)} faults\n")


if __name__ == "__main__":
    main()

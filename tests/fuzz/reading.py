"""Read mutated files with every task that could read them, and report what is not a sentence.

    python tests/fuzz/reading.py --seconds 300 --seed 1 --keep FOLDER
    python tests/fuzz/reading.py --each 2000 --tasks 2 --only elapsed.csv array.npy

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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from corpus import seeds
from mutations import mutated

from gatewise.errors import GatewiseError
from gatewise.settings import DataSettings
from gatewise.tasks import TASKS, guess_task, read

SLOW = 10.0  # seconds
LARGE = 64 << 20  # bytes beyond 20 times the file


def faults(path: Path, tasks: Sequence[str], member: str = "") -> Iterator[str]:
    """What goes wrong when a file is read by these tasks, and when its task is guessed.

    `member` is what stands behind the name of the file, such as #test.
    """
    settings = DataSettings(path=f"{path}{member}")
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            place = traceback.extract_tb(error.__traceback__)[-1]
            yield f"{task or 'guess'}: {type(error).__name__} at {place.filename}:{place.lineno}"
        if (seconds := time.process_time() - began) > SLOW:
            yield f"{task or 'guess'}: {seconds:.0f} seconds"
        if (grown := _peak() - before) > 20 * path.stat().st_size + LARGE:
            yield f"{task or 'guess'}: {grown >> 20} MB of memory"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def inputs(corpus: Mapping[str, bytes], seed: int) -> Iterator[tuple[str, bytes, random.Random]]:
    """Endless mutations of the seeds: a name, a content and the source of chance."""
    source = random.Random(seed)
    while True:
        for name, content in corpus.items():
            yield name, mutated(content, source), source


def arguments(description: str | None) -> argparse.Namespace:
    """How long to read, from which seed, and the folder for the inputs of faults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--each", type=int, default=0, help="inputs of each format, for any time")
    parser.add_argument("--tasks", type=int, default=len(TASKS), help="tasks that read an input")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="formats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("faults"))
    return parser.parse_args()


def main() -> None:
    """Read mutations until the time is over, each format had its number of them, or Ctrl-C."""
    given = arguments(__doc__)
    warnings.simplefilter("error")
    corpus = {name: seeds()[name] for name in given.only or seeds()}
    seen, read = set[str](), Counter[str]()
    until = time.monotonic() + given.seconds
    with TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        for name, content, source in inputs(corpus, given.seed):
            if read[name] == given.each if given.each else time.monotonic() > until:
                break
            file, mark, member = name.partition("#")
            path = Path(folder) / file
            path.write_bytes(content)
            read[name] += 1
            for fault in faults(path, source.sample(list(TASKS), given.tasks), mark + member):
                if fault not in seen:
                    seen.add(fault)
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / f"{read[name]}-{file}").write_bytes(content)
                    sys.stdout.write(f"{read[name]}-{name}: {fault}\n")
                    sys.stdout.flush()
            path.unlink(missing_ok=True)
    counts = ", ".join(f"{name} {count}" for name, count in read.items())
    sys.stdout.write(f"{read.total()} inputs ({counts}), {len(seen)} faults\n")


if __name__ == "__main__":
    main()

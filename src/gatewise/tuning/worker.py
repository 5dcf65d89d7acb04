"""One process of a search: python -m gatewise.tuning.worker FOLDER NUMBER CORES DEADLINE TRIALS."""

import logging
import sys
from pathlib import Path

from gatewise.tuning.search import work
from gatewise.tuning.state import Limits


def main() -> None:
    """Read the search from its folder, and take part in it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder, number, cores, deadline, trials = sys.argv[1:]
    limits = Limits(float(deadline), int(trials))
    try:
        work(Path(folder), int(number), [int(core) for core in cores.split(",")], limits)
    except KeyboardInterrupt:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""One process of a search: python -m gatewise.tuning.worker FOLDER NUMBER OF DEADLINE TRIALS."""

import logging
import sys
from pathlib import Path

from gatewise.tuning.search import Limits, work


def main() -> None:
    """Read the search from its folder, and take part in it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder, number, processes, deadline, trials = sys.argv[1:]
    try:
        work(Path(folder), int(number), int(processes), Limits(float(deadline), int(trials)))
    except KeyboardInterrupt:
        sys.exit(1)


if __name__ == "__main__":
    main()

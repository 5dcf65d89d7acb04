"""One process of a search: python -m gatewise.tuning.worker FOLDER NUMBER CORES DEADLINE TRIALS."""

import logging
import os
import sys
import threading
from pathlib import Path


def end_with_the_first() -> None:
    """End this process as by SIGKILL when the process that began the search ends.

    That one holds the other end of standard input, which the kernel closes. The trial stays in the
    study and its checkpoint in the folder, for the command that continues the search.
    """
    os.read(0, 1)  # a read of sys.stdin would hold a lock, at which the end of this process fails
    os._exit(1)


def main() -> None:
    """Read the search from its folder, and take part in it."""
    threading.Thread(target=end_with_the_first, daemon=True).start()
    from gatewise.tuning.search import work
    from gatewise.tuning.state import Limits

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder, number, cores, deadline, trials = sys.argv[1:]
    limits = Limits(float(deadline), int(trials))
    try:
        work(Path(folder), int(number), [int(core) for core in cores.split(",")], limits)
    except KeyboardInterrupt:
        sys.exit(1)


if __name__ == "__main__":
    main()

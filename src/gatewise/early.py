"""Ctrl-C while the command line is being imported, before it handles signals itself.

The package imports this module first, and it acts only in a process that runs the command line.
"""

import os
import signal
import sys
from typing import Any

INTERRUPTED = 1  # the exit status after Ctrl-C
TERMINATED = 143  # the exit status that a shell reports after SIGTERM


def stopped() -> str:
    """What the command line says when a signal ends it."""
    return "stopped; nothing was saved." if sys.argv[1:2] == ["train"] else "stopped."


def end(status: int) -> None:
    """End the process at once, with a sentence."""
    os.write(2, f"gatewise: {stopped()}\n".encode())
    os._exit(status)


def disarm() -> None:
    """Give signals the effect that they had before."""
    while _before:
        signal.signal(*_before.popitem())


_before: dict[signal.Signals, Any] = {}
# While `python -m` imports the package of a module, its name is not yet in sys.argv.
if sys.argv[0].endswith("/gatewise") or (sys.argv[0] == "-m" and "gatewise" in sys.orig_argv):
    _before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: end(INTERRUPTED))
    _before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: end(TERMINATED))

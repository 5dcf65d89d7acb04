"""Ctrl-C while the command line is being imported, before it handles signals itself.

The package imports this module first, and it acts only in a process that runs the command line.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

INTERRUPTED, TERMINATED = 130, 143  # the exit statuses of a shell after Ctrl-C and SIGTERM


def stopped() -> str:
    """What the command line says when a signal ends it."""
    return "stopped; nothing was saved." if sys.argv[1:2] == ["train"] else "stopped."


def end(status: int) -> None:
    """End the process at once, with a sentence."""
    os.write(2, f"gatewise: {stopped()}\n".encode())
    os._exit(status)


@contextlib.contextmanager
def disarmed() -> Iterator[None]:
    """Give signals the effect that they had before."""
    for number, handler in taken_over().items():
        signal.signal(number, handler)
    yield


def taken_over() -> dict[signal.Signals, Any]:
    """The handlers from before, of a caller whose own handlers now act on signals."""
    before = dict(_before)
    _before.clear()
    return before


def is_command_line() -> bool:
    """Whether Python was started as `gatewise` or `python -m gatewise`.

    sys.argv does not tell: its first entry is "-m" while the package of any module is imported, and
    a process of multiprocessing has that of its parent.
    """
    given = sys.orig_argv[1:]
    while given and given[0].startswith("-") and given[0] != "-m":
        given = given[2:] if given[0] in ("-X", "-W") else given[1:]
    return given[:2] == ["-m", "gatewise"] or "".join(given[:1]).endswith("/gatewise")


_before: dict[signal.Signals, Any] = {}
if is_command_line():
    _before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: end(INTERRUPTED))
    _before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: end(TERMINATED))

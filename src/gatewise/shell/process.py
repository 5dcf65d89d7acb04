"""The command line as a process: signals, exit statuses, too little memory, closed pipes."""

import contextlib
import errno
import logging
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import typer

from gatewise.errors import ConfigError, GatewiseError
from gatewise.shell import early
from gatewise.shell.early import INTERRUPTED, TERMINATED
from gatewise.training import interrupts

HEAVY = (
    *("train", "tune", "curve", "look", "evaluate", "inspect", "predict", "generate"),
    *("export", "serve", "run"),
)
MIN_ADDRESSES = 2_400_000_000  # bytes of address space; measured with 2 cores, more cores need more
UNREAD = 128 + signal.SIGPIPE  # the exit status of a shell after SIGPIPE
SAVE_MEMORY = (
    "Give it more memory, or use less: fewer rows, or a smaller training.batch_size, "
    "task.lookback or network.units."
)


class Stopped(SystemExit):
    """The end of a command that a signal stopped, and that has said so."""


def run(command: Callable[[], object]) -> None:
    """Run the command line; an error that the user can fix is one sentence and exit status 1."""
    ours = sys.argv[1:2] != ["run"]  # a script handles its own signals
    try:
        _refuse_closed_output()
        _refuse_small_address_space()
        with _stoppable() if ours else early.disarmed(), _written_out():
            command()
    except GatewiseError as error:
        logging.getLogger("gatewise").debug("%s", traceback.format_exc().rstrip())
        _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        detail = f" ({str(error).splitlines()[0]})" if str(error) else ""
        _fail(f"There is not enough memory for this{detail}. {SAVE_MEMORY}")
    except Stopped:
        raise
    except (SystemExit, KeyboardInterrupt) as error:  # Click turns only some interrupts into exits
        status = error.code if isinstance(error, SystemExit) else INTERRUPTED
        if status in (INTERRUPTED, TERMINATED) and ours:
            typer.echo(f"gatewise: {early.stopped()}", err=True)
            raise Stopped(status) from None
        raise
    except BrokenPipeError:  # the reader (head, less) has closed the pipe
        _drop_output()
        sys.exit(UNREAD)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EFBIG) or error.filename:
            raise
        _drop_output()
        _fail(f"standard output cannot be written: {error.strerror}.")


def ignore_signals() -> None:
    """Ignore signals from now on, because Python may take seconds to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def end_after(number: int) -> None:
    """End the command as after this signal, if it is one, when the work on the way is done."""
    if number:
        raise SystemExit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)


def leave(request: Stopped) -> None:
    """End the process now: after a half import, the end of Python may crash in a library."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(int(str(request.code)))


@contextlib.contextmanager
def training() -> Iterator[None]:
    """End the command with a sentence when a signal stops a training.

    The text of the exception names what was saved.
    """
    try:
        yield
    except KeyboardInterrupt as request:
        typer.echo(f"gatewise: stopped; {str(request) or 'nothing was saved.'}", err=True)
        terminated = interrupts.received == signal.SIGTERM
        raise Stopped(TERMINATED if terminated else INTERRUPTED) from None


@contextlib.contextmanager
def _written_out() -> Iterator[None]:
    """Raise what writing the output raises, which Click and the end of Python would hide."""
    try:
        yield
    except SystemExit as error:  # Click ends every command with one
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _refuse_closed_output() -> None:
    """Refuse a closed standard output: nothing could be seen, and a file could take its place."""
    if sys.stdout is None and sys.argv[1:2] != ["run"]:
        raise ConfigError("standard output is closed. Redirect it to /dev/null to discard it.")


def _fail(sentence: str) -> None:
    typer.echo(f"gatewise: {sentence}", err=True)
    sys.exit(1)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """End the command with a sentence on Ctrl-C and SIGTERM.

    Python discards an exception that a handler raises during a callback of the garbage collector,
    for example while JAX is imported. Therefore the process ends two seconds later in any case.
    Training installs handlers of its own.
    """
    timers: list[threading.Timer] = []

    def stop(number: int, _frame: object) -> None:
        status = TERMINATED if number == signal.SIGTERM else INTERRUPTED
        timers.append(threading.Timer(2.0, early.end, [status]))
        timers[-1].daemon = True
        timers[-1].start()
        raise SystemExit(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt

    hook = sys.unraisablehook

    def complain(unraisable: Any) -> None:
        # What Python says of an exception of `stop` that it discards tells the user nothing.
        if not (timers and issubclass(unraisable.exc_type, SystemExit | KeyboardInterrupt)):
            hook(unraisable)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    before |= early.taken_over()
    sys.unraisablehook = complain
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_small_address_space() -> None:
    """Refuse a small address space, in which the libraries end the process without a message."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    limited = most != resource.RLIM_INFINITY and most < MIN_ADDRESSES
    if limited and sys.argv[1:2] and sys.argv[1] in HEAVY:
        raise ConfigError(
            f"The memory of this process is limited to {most / 1e9:.1f} GB (ulimit -v), but JAX "
            f"alone needs {MIN_ADDRESSES / 1e9:.1f} GB of addresses. Raise the limit, or remove it "
            "(ulimit -v unlimited)."
        )


def _drop_output() -> None:
    """Discard what is still in the buffer of standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

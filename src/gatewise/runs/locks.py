"""One process at a time for a run folder: a lock beside it, which ends with the process."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gatewise.errors import ConfigError

log = logging.getLogger("gatewise")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing `folder` and its checkpoint.

    The lock is `flock` on a hidden file beside the folder, which holds the process id for the
    message. The kernel releases it when the process ends, so the file that a killed process leaves
    is taken over.

    Raises:
        ConfigError: a living process has the lock, or its file cannot be written.
    """
    real = Path(os.path.realpath(folder))
    path = real.with_name(f".{real.name}.lock")
    lock = _opened(path, folder)
    try:
        yield
    finally:
        with suppress(OSError):  # the folder may have become read-only
            path.unlink(missing_ok=True)
        os.close(lock)


def _opened(path: Path, folder: Path) -> int:
    """The descriptor of the locked file, which is still the one at `path`."""
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            process = f"process {owner}" if owner else "another process"
            raise ConfigError(
                f"{folder} is being written by {process}. Wait for its end, or choose another -o."
            ) from None
        except OSError as error:  # some network file systems have no locks
            log.warning(
                "%s cannot be locked (%s), so nothing keeps a second run from writing to the same "
                "folder.",
                path,
                error.strerror,
            )
            return lock
        if _is_at(lock, path):
            with suppress(OSError):  # the disk may be full; the number is only for the message
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            return lock
        os.close(lock)  # its owner removed it between the two calls


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.lstat())
    except FileNotFoundError:
        return False

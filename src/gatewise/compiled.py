"""Compiled programs, kept from one run of the command line to the next.

Compiling takes most of the time of a short training, and the next training of such a network needs
the same programs. JAX's own cache keeps them, in a folder of the user.
"""

import hashlib
import os
import platform
import sys
import warnings
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"  # JAX reads these variables when it is imported
ALL = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
LIMIT = 256 * 2**20  # the bytes of a folder


def keep() -> None:
    """Let JAX keep its compiled programs, unless the user has chosen a folder.

    Without a folder that can be written, every run compiles its programs again. A damaged program,
    such as one whose process was killed while it wrote, is compiled again as well.
    """
    if FOLDER in os.environ:
        return
    try:
        folder = place()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return
        _make_room(folder)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return
    os.environ[FOLDER] = str(folder)
    for name, value in ALL.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def described() -> str:
    """Where compiled programs are kept after `keep`, and how many there are."""
    if FOLDER not in os.environ:
        return "not kept, because the user has no folder for them that can be written"
    if not os.environ[FOLDER]:
        return f"not kept, because {FOLDER} is empty"
    folder = Path(os.environ[FOLDER])
    files = [path.stat().st_size for path in folder.glob("*-cache")]
    return f"{len(files)} programs, {sum(files) / 1e6:.1f} MB, in {folder}"


def place() -> Path:
    """The folder of the programs for this kind of processor, because others cannot run them.

    Raises:
        RuntimeError: the user has no home folder.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # the standard ignores a relative one
        caches = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return caches / "gatewise" / "compiled" / hashlib.sha256(_processor().encode()).hexdigest()[:16]


def _processor() -> str:
    """What tells kinds of processors apart: the instructions that Linux lists, or a name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            listed = (line for line in lines if line.lower().startswith(("flags", "features")))
            return next(listed, "") or platform.processor()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"


def _make_room(folder: Path) -> None:
    """Remove the programs that were not used for longest, if they take too many bytes."""
    files = [(path, path.stat()) for path in folder.iterdir()]
    size = sum(facts.st_size for _, facts in files)
    for path, facts in sorted(files, key=lambda file: file[1].st_atime):
        if size <= LIMIT:
            return
        path.unlink(missing_ok=True)
        size -= facts.st_size

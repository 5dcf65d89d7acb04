"""Find and load the shared library of `native/`, and declare its functions to ctypes."""

import ctypes
import importlib.metadata
import json
import logging
import os
import shlex
import struct
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gatewise.engine.contract import PRODUCTS
from gatewise.errors import EngineError

VERSION = 3  # GATEWISE_VERSION of native/gatewise.h, which explains every field and function
NAME = "libgatewise.dylib" if sys.platform == "darwin" else f"libgatewise.so.{VERSION}"

log = logging.getLogger("gatewise")

ISAS = ("amx", "avx512bf16", "avx512", "avx2", "portable")
MOST_THREADS = 1024  # GATEWISE_MOST_THREADS there
_DONE, _BAD_ARGUMENT, _NO_MEMORY = range(3)  # enum gatewise_status


class Layer(ctypes.Structure):
    """`gatewise_lstm`: the inputs of one layer and the outputs of its forward pass."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("double_precision", ctypes.c_int32),
        ("products", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("recurrent_activation", ctypes.c_int32),
        ("go_backwards", ctypes.c_int32),
        ("zero_output", ctypes.c_int32),
        ("start_output", ctypes.c_int32),
        ("x", ctypes.c_void_p),
        ("mask", ctypes.c_void_p),
        ("h0", ctypes.c_void_p),
        ("c0", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("recurrent_kernel", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("input_masks", ctypes.c_void_p),
        ("recurrent_masks", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("y_batch_stride", ctypes.c_int64),
        ("y_step_stride", ctypes.c_int64),
        ("h", ctypes.c_void_p),
        ("c", ctypes.c_void_p),
        ("reserve", ctypes.c_void_p),
    )


class Gradient(ctypes.Structure):
    """`gatewise_gradient`: inputs and outputs of the backward pass of one layer."""

    _fields_ = (
        ("dy", ctypes.c_void_p),
        ("dy_batch_stride", ctypes.c_int64),
        ("dy_step_stride", ctypes.c_int64),
        ("dh", ctypes.c_void_p),
        ("dc", ctypes.c_void_p),
        ("dx", ctypes.c_void_p),
        ("dh0", ctypes.c_void_p),
        ("dc0", ctypes.c_void_p),
        ("dkernel", ctypes.c_void_p),
        ("drecurrent_kernel", ctypes.c_void_p),
        ("dbias", ctypes.c_void_p),
    )


class Cell(ctypes.Structure):
    """`gatewise_cell`: one layer of a stack for single steps."""

    _fields_ = (
        ("features", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("activation", ctypes.c_int32),
        ("recurrent_activation", ctypes.c_int32),
        ("kernel", ctypes.c_void_p),
        ("recurrent_kernel", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class States(ctypes.Structure):
    """`gatewise_states`: the arrays of one step."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("h", ctypes.c_void_p),
        ("c", ctypes.c_void_p),
        ("h_next", ctypes.c_void_p),
        ("c_next", ctypes.c_void_p),
    )


@cache
def load() -> ctypes.CDLL:
    """Load the library once, and declare its functions.

    Raises:
        EngineError: the library is missing, damaged or of another version.
    """
    # An editable install keeps the library in another folder than __file__.
    place = resources.files("gatewise.engine") / NAME
    if not place.is_file():
        raise EngineError(f"gatewise was installed without its C++ core ({NAME}). {_remedy()}")
    with resources.as_file(place) as path:
        library = _opened(path)
    _check_environment(library)
    return library


def _opened(place: Path) -> ctypes.CDLL:
    if not _is_whole(place):
        raise EngineError(f"{place} is truncated. {_remedy()}")
    try:
        library = ctypes.CDLL(str(place))
    except OSError as error:
        raise EngineError(
            f"The C++ core of gatewise does not load on this machine: {error}. {_remedy()}"
        ) from error
    try:
        found = library.gatewise_version()
        if found == VERSION:
            _declare(library)
    except AttributeError as error:
        raise EngineError(f"{place} is not the core of gatewise: {error}. {_remedy()}") from None
    if found != VERSION:
        raise EngineError(
            f"{place} has version {found}, but this gatewise needs version {VERSION}. {_remedy()}"
        )
    return library


def _remedy() -> str:
    """How to repeat this installation; without --no-cache-dir, pip reuses the old build."""
    source = _source()
    if source.endswith(".whl"):
        return (
            f"Build {source} again on a machine with a C++ compiler, such as g++, and install it."
        )
    again = f"-m pip install --force-reinstall --no-cache-dir --no-deps {source}"
    return f"Install a C++ compiler, such as g++, and then: {shlex.quote(sys.executable)} {again}"


def _source() -> str:
    """The source from which pip installed gatewise: a folder, file or address, or its name."""
    try:
        text = importlib.metadata.distribution("gatewise").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        text = None
    if not text:
        return "gatewise"
    found: dict[str, Any] = json.loads(text)
    address = str(found["url"])
    if address.startswith("file://"):
        address = shlex.quote(unquote(address.removeprefix("file://")))
    if "vcs_info" in found:
        return f"{found['vcs_info']['vcs']}+{address}"
    editable = found.get("dir_info", {}).get("editable")
    return f"--editable {address}" if editable else address


def _is_whole(path: Path) -> bool:
    """Whether a library is as long as its header says; if not, loading it would end the process."""
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return True  # not a 64-bit ELF file; the loader gives the error
        (start,) = struct.unpack_from("<Q", head, 32)  # of the table of segments
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(start)
        table = file.read(size * count)
    if len(table) < size * count:
        return False
    ends = []
    for place in range(0, len(table), size):
        (offset,) = struct.unpack_from("<Q", table, place + 8)
        (length,) = struct.unpack_from("<Q", table, place + 32)
        ends.append(offset + length)
    return max(ends, default=0) <= path.stat().st_size


def _check_environment(library: ctypes.CDLL) -> None:
    """Refuse or report settings of the environment that the kernels cannot follow."""
    asked, used = os.environ.get("GATEWISE_ISA", ""), bytes(library.gatewise_isa()).decode()
    if asked not in ("", used):
        raise EngineError(
            f"GATEWISE_ISA takes one of {', '.join(ISAS)} that the processor supports. "
            f"Received: {asked}. Without GATEWISE_ISA, this machine uses {used}."
        )
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if first and not (first.isascii() and first.isdigit() and 1 <= int(first) <= MOST_THREADS):
        log.warning(
            "OMP_NUM_THREADS must be a whole number from 1 to %d. Received: %s. The LSTM kernels "
            "use %d threads, one for each core.",
            *(MOST_THREADS, first, library.gatewise_threads()),
        )


def _declare(library: ctypes.CDLL) -> None:
    """Declare arguments and results of the functions of native/gatewise.h."""
    count = ctypes.c_int32
    layers, gradients = ctypes.POINTER(Layer), ctypes.POINTER(Gradient)
    cells, handle = ctypes.POINTER(Cell), ctypes.c_void_p
    for name, result, arguments in (
        ("version", ctypes.c_int32, ()),
        ("reserve_size", ctypes.c_int64, (ctypes.c_int64, ctypes.c_int64)),
        ("lstm_forward", ctypes.c_int32, (layers, count)),
        ("lstm_backward", ctypes.c_int32, (layers, gradients, count)),
        ("cells_pack", ctypes.c_int32, (cells, count, count, ctypes.POINTER(handle))),
        ("cells_step", ctypes.c_int32, (handle, ctypes.c_int64, ctypes.POINTER(States))),
        ("cells_free", None, (handle,)),
        ("threads", ctypes.c_int32, ()),
        ("set_threads", None, (ctypes.c_int32,)),
        ("keep_memory", None, ()),
        ("isa", ctypes.c_char_p, ()),
        ("has_products", ctypes.c_int32, (ctypes.c_int32,)),
    ):
        function = getattr(library, f"gatewise_{name}")
        function.restype = result
        function.argtypes = arguments


def check(status: int) -> None:
    """Raise the error for a status that the kernels return.

    Raises:
        EngineError: the status is not that of success.
    """
    if status == _NO_MEMORY:
        raise EngineError(
            "There is not enough memory for the scratch space of an LSTM layer. Use a smaller "
            "batch or shorter sequences."
        )
    if status != _DONE:
        raise EngineError(
            "The LSTM kernels do not accept a size or an activation, or miss an array."
        )


def why_not() -> str | None:
    """Return why the library cannot be loaded; None: it is loaded."""
    try:
        load()
    except EngineError as error:
        return str(error)
    return None


def threads() -> int:
    """Return how many threads a call may use, including its own."""
    return int(load().gatewise_threads())


def set_threads(count: int) -> None:
    """Let a call use `count` threads; 0 restores OMP_NUM_THREADS or, without it, all cores."""
    load().gatewise_set_threads(count)


@cache
def keep_memory() -> None:
    """Let the process reuse the memory of large arrays that it frees, from the first call on."""
    load().gatewise_keep_memory()


def isa() -> str:
    """Return the instruction set in use, one of `ISAS`; GATEWISE_ISA chooses one."""
    return bytes(load().gatewise_isa()).decode()


def has_products(products: str) -> bool:
    """Whether this instruction set computes such products (contract.py) faster than float32."""
    return bool(load().gatewise_has_products(PRODUCTS.index(products)))


def reserve_size(steps: int, units: int) -> int:
    """Return the number of elements in the reserve of one sequence."""
    return int(load().gatewise_reserve_size(steps, units))

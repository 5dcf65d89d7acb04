"""The shared library of `native/`: found, loaded and described to ctypes."""

import ctypes
import sys
from functools import cache
from importlib import resources

from gatewise.errors import EngineError

VERSION = 1  # GATEWISE_VERSION of native/gatewise.h, which explains every field and function
NAME = "libgatewise.dylib" if sys.platform == "darwin" else f"libgatewise.so.{VERSION}"

_REMEDY = (
    "Install a C++ compiler, such as g++, and reinstall: "
    "pip install --force-reinstall --no-deps gatewise, or make in a checkout."
)


class Layer(ctypes.Structure):
    """`gatewise_lstm`: one layer, what it reads and what its forward pass writes."""

    _fields_ = (
        ("batch", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("features", ctypes.c_int64),
        ("units", ctypes.c_int64),
        ("double_precision", ctypes.c_int32),
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
    """`gatewise_gradient`: the gradient of one layer, what it reads and what it writes."""

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


@cache
def load() -> ctypes.CDLL:
    """The library, its functions declared; EngineError says why where there is none."""
    # Not beside __file__: in an editable install the library lies in another folder of the package.
    place = resources.files("gatewise.engine") / NAME
    if not place.is_file():
        raise EngineError(f"gatewise was installed without its C++ core ({NAME}). {_REMEDY}")
    try:
        library = ctypes.CDLL(str(place))
    except OSError as error:
        raise EngineError(
            f"The C++ core of gatewise does not load on this machine: {error}. {_REMEDY}"
        ) from error
    _declare(library)
    found = library.gatewise_version()
    if found != VERSION:
        raise EngineError(
            f"{place} is of version {found}, and this gatewise needs version {VERSION}. {_REMEDY}"
        )
    return library


def _declare(library: ctypes.CDLL) -> None:
    """Tells ctypes what the functions of native/gatewise.h take and return."""
    count = ctypes.c_int32
    layers, gradients = ctypes.POINTER(Layer), ctypes.POINTER(Gradient)
    for name, result, arguments in (
        ("version", ctypes.c_int32, ()),
        ("reserve_size", ctypes.c_int64, (ctypes.c_int64, ctypes.c_int64)),
        ("lstm_forward", ctypes.c_int32, (layers, count)),
        ("lstm_backward", ctypes.c_int32, (layers, gradients, count)),
        ("threads", ctypes.c_int32, ()),
        ("set_threads", None, (ctypes.c_int32,)),
        ("keep_memory", None, ()),
        ("isa", ctypes.c_char_p, ()),
    ):
        function = getattr(library, f"gatewise_{name}")
        function.restype = result
        function.argtypes = arguments


def why_not() -> str | None:
    """The reason why there is no library to be had, or None when there is."""
    try:
        load()
    except EngineError as error:
        return str(error)
    return None


def threads() -> int:
    """How many threads a call may use, its own included."""
    return int(load().gatewise_threads())


def set_threads(count: int) -> None:
    """Let a call use `count` threads; 0 goes back to OMP_NUM_THREADS, or to the cores there are."""
    load().gatewise_set_threads(count)


def keep_memory() -> None:
    """Let the process keep large arrays that it frees for the next ones."""
    load().gatewise_keep_memory()


def isa() -> str:
    """The instruction set in use: avx512, avx2 or portable; GATEWISE_ISA asks for one by name."""
    return bytes(load().gatewise_isa()).decode()


def reserve_size(steps: int, units: int) -> int:
    """How many elements the reserve of one sequence takes."""
    return int(load().gatewise_reserve_size(steps, units))

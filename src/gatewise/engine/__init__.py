"""The engine: the LSTM layers of Keras on kernels of our own, with the same weights and numbers.

>>> import gatewise
>>> gatewise.accelerate()  # doctest: +SKIP

Importing this imports no framework. Asked for before Keras is there, the kernels are put in when
somebody imports it, so that the choice of a backend stays open until then.
"""

import importlib
import importlib.metadata
import logging
import operator
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from gatewise.backend import wait_for_keras
from gatewise.engine import library
from gatewise.errors import ConfigError, EngineError

log = logging.getLogger("gatewise")

Engine = Literal["auto", "native", "stock"]
ENGINES: tuple[Engine, ...] = ("auto", "native", "stock")

_chosen: Engine = "stock"


def accelerate(on: bool = True, *, engine: Engine = "auto") -> None:
    """Run every Keras LSTM of this process natively from now on; `accelerate(False)` goes back.

    With `engine="auto"`, stock Keras runs what the kernels cannot, and a logged sentence says why,
    once for each reason; with `engine="native"` that sentence is raised. What is compiled stays as
    it is: a step that `fit`, `evaluate` or `predict` has run before keeps its loops for batches of
    the shapes that it has met, until `compile()` is called.

    Raises:
        EngineError: `engine="native"`, and no layer can run natively here. Where Keras is not
            imported yet, its import raises it.
    """
    if not isinstance(on, bool):
        raise ConfigError(
            f"accelerate wants True or False. Received: {on!r}. "
            'An engine is named by accelerate(engine="native").'
        )
    if engine not in ENGINES:
        raise ConfigError(f"engine wants one of {', '.join(ENGINES)}. Received: {engine!r}.")
    _choose(engine if on else "stock")


@contextmanager
def accelerated(on: bool = True, *, engine: Engine = "auto") -> Iterator[None]:
    """`accelerate(...)` for a while; what was chosen before comes back after it.

    >>> with accelerated(False):
    ...     pass
    """
    before = _chosen
    accelerate(on, engine=engine)
    try:
        yield
    finally:
        _choose(before)


def why_not(layer: Any) -> str | None:
    """The sentence that says why a layer or model cannot run natively; None: it can.

    Of a model, it is what holds for any of its LSTM layers.
    """
    reason: str | None = _hook().why_not(layer)
    return reason


def used_by(network: Any) -> dict[str, str]:
    """What runs the LSTM layers of a model as things are: `kind`, native or stock, and `reason`."""
    if _chosen == "stock":
        return {"kind": "stock", "reason": "the native kernels are switched off"}
    hook = _hook()
    layers = hook.recurrent_layers(network)
    reasons = [(one.name, hook.why_not(one)) for one in layers]
    refused = [(name, why) for name, why in reasons if why]
    if not layers:
        return {"kind": "stock", "reason": "the network has no LSTM layer"}
    if len(refused) == len(layers):
        return {"kind": "stock", "reason": refused[0][1]}
    said = _description()
    if refused:
        said += f"; stock Keras runs '{refused[0][0]}': {refused[0][1]}"
    return {"kind": "native", "reason": said}


def set_threads(count: int) -> None:
    """Let the kernels use so many threads; 0 goes back to OMP_NUM_THREADS, or all cores there are.

    Without the kernels there is nothing to set, and a logged sentence says so.

    Raises:
        ConfigError: `count` is no whole number from 0 to 1024.
    """
    try:
        whole = -1 if isinstance(count, bool) else operator.index(count)
    except TypeError:
        whole = -1
    if not 0 <= whole <= library.MOST_THREADS:
        raise ConfigError(
            f"set_threads wants a whole number from 0 to {library.MOST_THREADS}; 0 leaves it to "
            f"OMP_NUM_THREADS, or to the cores there are. Received: {count!r}."
        )
    try:
        library.set_threads(whole)
    except EngineError as error:
        log.warning("%s", error)


def info() -> dict[str, Any]:
    """What this machine will use: backend, versions, instruction set, threads, or why not.

    `calls` counts the LSTM layers that were run or compiled so far, natively and by stock Keras.
    """
    hook = _hook()
    reason = hook.why_not_here()
    if reason is None:
        _apply()
    found: dict[str, Any] = {
        "kind": "stock" if reason else "native",
        "reason": reason or _description(),
        "chosen": _chosen,
        "backend": hook.keras.backend.backend(),
        "versions": _versions(
            ("gatewise", "keras", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "torch")
        ),
        "calls": dict(hook.calls),
    }
    if not reason:
        found |= {"instruction_set": library.isa(), "threads": library.threads()}
    return found


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _description() -> str:
    threads = library.threads()
    return f"{library.isa()} kernels, {threads} thread" + ("s" if threads != 1 else "")


def _choose(engine: Engine) -> None:
    global _chosen
    if "keras" not in sys.modules:
        _chosen = engine
        wait_for_keras(_apply)
        return
    if engine == "native" and (reason := _hook().why_not_here()):
        raise EngineError(reason)
    _chosen = engine
    _apply()


def _apply() -> None:
    """Put the kernels into Keras, or take them out, as was chosen."""
    if _chosen == "stock":
        if "gatewise.engine.hook" in sys.modules:
            _hook().remove()
        return
    try:
        hook = _hook()
    except EngineError as error:
        if _chosen == "native":
            raise
        log.warning("%s", error)
        return
    reason = hook.why_not_here()
    if reason is None:
        hook.install(strict=_chosen == "native")
    elif _chosen == "native":
        raise EngineError(reason)
    else:
        hook.say(reason)


def _hook() -> Any:
    keras = importlib.import_module("keras")  # first, as what waits for it comes here in its turn
    try:
        return importlib.import_module("gatewise.engine.hook")
    except ImportError as error:
        place = getattr(keras, "__file__", "keras")
        raise EngineError(f"{place} is no Keras that gatewise knows: {error}.") from None

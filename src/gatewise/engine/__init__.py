"""The engine: the LSTM layers of Keras on kernels of our own, with the same weights and numbers.

>>> import gatewise
>>> gatewise.accelerate()  # doctest: +SKIP

Importing this imports no framework. If Keras is not imported yet, the kernels replace its loops
when it is, so the choice of a backend stays open until then.
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
from gatewise.engine.contract import PRODUCTS
from gatewise.errors import ConfigError, EngineError
from gatewise.settings import shown

log = logging.getLogger("gatewise")

Engine = Literal["auto", "native", "stock"]
ENGINES: tuple[Engine, ...] = ("auto", "native", "stock")
Products = Literal["float32", "bfloat16", "bfloat16x3"]

_chosen: Engine = "stock"
_products: Products = "float32"


def accelerate(on: bool = True, *, engine: Engine = "auto", products: Products = "float32") -> None:
    """Run every Keras LSTM of this process natively from now on; `accelerate(False)` ends that.

    With `engine="auto"`, stock Keras runs what the kernels cannot, and a logged sentence says why,
    once for each reason; with `engine="native"` that sentence is raised. Compiled code does not
    change: a step that `fit`, `evaluate` or `predict` has run before keeps its loops for batches of
    the same shapes, until `compile()` is called.

    `products="bfloat16"` rounds the operands of the matrix products of float32 layers to bfloat16,
    as TF32 does on a GPU; sums, gates, states and weights stay float32. `products="bfloat16x3"`
    splits each operand into two bfloat16 numbers. Both apply only where they are faster, which
    `info()` says: the processor has instructions for them, and the layer has 16 units or more.

    Raises:
        EngineError: `engine="native"`, and no layer can run natively here. Where Keras is not
            imported yet, its import raises it.
    """
    if not isinstance(on, bool):
        raise ConfigError(
            f"accelerate takes True or False. Received: {on!r}. "
            'An engine is named by accelerate(engine="native").'
        )
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(ENGINES)}. Received: {engine!r}.")
    if products not in PRODUCTS:
        raise ConfigError(f"products must be one of {', '.join(PRODUCTS)}. Received: {products!r}.")
    _choose(engine if on else "stock", products)


@contextmanager
def accelerated(
    on: bool = True, *, engine: Engine = "auto", products: Products = "float32"
) -> Iterator[None]:
    """`accelerate(...)` within a `with` block; afterwards, the earlier choice is in effect again.

    >>> with accelerated(False):
    ...     pass
    """
    before = _chosen, _products
    accelerate(on, engine=engine, products=products)
    try:
        yield
    finally:
        _choose(*before)


def why_not(layer: Any) -> str | None:
    """Return in a sentence why a layer or model cannot run natively; None: it can.

    For a model, the sentence names each of its LSTM layers that cannot.
    """
    reason: str | None = _hook().support.why_not(layer)
    return reason


def used_by(network: Any) -> dict[str, str]:
    """Return what now runs the LSTM layers of a model: `kind` (native or stock) and `reason`."""
    if _chosen == "stock":
        return {"kind": "stock", "reason": "the native kernels are switched off"}
    support = _hook().support
    layers = support.recurrent_layers(network)
    reasons = [(one.name, support.why_not(one)) for one in layers]
    refused = [(name, why) for name, why in reasons if why]
    if not layers:
        return {"kind": "stock", "reason": "the network has no LSTM layer"}
    if len(refused) == len(layers):
        return {"kind": "stock", "reason": refused[0][1]}
    text = _description()
    if refused:
        text += f"; stock Keras runs '{refused[0][0]}': {refused[0][1]}"
    return {"kind": "native", "reason": text}


def set_threads(count: int) -> None:
    """Set how many threads the kernels use; 0 restores OMP_NUM_THREADS or, without it, all cores.

    Where the kernels are missing, this sets nothing and logs a sentence.

    Raises:
        ConfigError: `count` is not a whole number from 0 to 1024.
    """
    try:
        whole = -1 if isinstance(count, bool) else operator.index(count)
    except TypeError:
        whole = -1
    if not 0 <= whole <= library.MOST_THREADS:
        raise ConfigError(
            f"set_threads takes a whole number from 0 to {library.MOST_THREADS}; 0 stands for "
            f"OMP_NUM_THREADS or, without it, all cores. Received: {shown(count)}."
        )
    try:
        library.set_threads(whole)
    except EngineError as error:
        log.warning("%s", error)


def info() -> dict[str, Any]:
    """Return what this machine will use: backend, versions, instruction set, threads; or why not.

    `products` are the operands of matrix products for which it has instructions.

    `calls` counts the LSTM layers that were run or compiled so far, natively and by stock Keras.
    """
    hook = _hook()
    reason = hook.support.why_not_here()
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
        found |= {
            "instruction_set": library.isa(),
            "threads": library.threads(),
            "products": [one for one in PRODUCTS if library.has_products(one)],
        }
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
    text = f"{library.isa()} kernels, {threads} thread" + ("s" if threads != 1 else "")
    if _products == "float32":
        return text
    if library.has_products(_products):
        return f"{text}, products of {_products}"
    return f"{text}, products of float32. {_why_float32()}"


def _why_float32() -> str:
    """Return why the products that were chosen are not used."""
    return f"Products of {_products} are not faster on this processor ({library.isa()})."


def _choose(engine: Engine, products: Products) -> None:
    global _chosen, _products
    if "keras" not in sys.modules:
        _chosen, _products = engine, products
        wait_for_keras(_apply)
        return
    if engine == "native" and (reason := _hook().support.why_not_here()):
        raise EngineError(reason)
    _chosen, _products = engine, products
    _apply()


def _apply() -> None:
    """Replace Keras's loops by the kernels, or restore them, according to the choice."""
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
    reason = hook.support.why_not_here()
    if reason is None:
        hook.install(strict=_chosen == "native", products=_products)
        if not library.has_products(_products):
            hook.say(_why_float32(), "Matrix products are those of float32.")
    elif _chosen == "native":
        raise EngineError(reason)
    else:
        hook.say(reason)


def _hook() -> Any:
    keras = importlib.import_module(
        "keras"
    )  # first: its import may call `_apply` through this function again
    try:
        return importlib.import_module("gatewise.engine.hook")
    except ImportError as error:
        place = getattr(keras, "__file__", "keras")
        raise EngineError(f"gatewise does not know the Keras in {place}: {error}.") from None

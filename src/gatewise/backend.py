"""Choose the backend of Keras: by what the user configures or imports, or else JAX.

The choice is made when Keras is imported, so a script can still influence it until then.
"""

import contextlib
import copy
import ctypes
import gc
import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from gatewise import compiled
from gatewise.shell import early

FRAMEWORKS = ("jax", "tensorflow", "torch")
_M_ARENA_MAX = -8  # of malloc.h
RUN = "GATEWISE_RUN"  # set by `gatewise run`: the engine and its products

# Modules of Keras that wait for their first use: they import scikit-learn, scipy.stats and
# matplotlib.pyplot, half the time of importing Keras on JAX. They have no modules below them.
_WAITING = (
    "keras.visualization",
    "keras.src.visualization.plot_image_gallery",
    "keras.wrappers",
)

# The config file that Keras itself writes, whatever backend runs.
_KERAS_DEFAULTS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def wait_for_keras(then: Callable[[], None] | None = None) -> None:
    """Choose the backend when Keras is first imported, and call `then` after the import."""
    if "keras" in sys.modules:
        return
    watch = next((one for one in sys.meta_path if isinstance(one, _Watch)), None)
    if watch is None:
        watch = _Watch()
        sys.meta_path.insert(0, watch)
    if then is not None:
        watch.then = then


class _Watch(importlib.abc.MetaPathFinder):
    """An import hook for the first successful import of Keras; failed attempts do not count."""

    then: Callable[[], None] | None = None

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "keras" and name not in _WAITING:
            return None
        spec = _spec_of_others(self, name, path, target)
        if spec is None or spec.loader is None:
            return spec
        if name in _WAITING:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        else:
            # A copy, because many modules may share one loader.
            spec.loader = loader = copy.copy(spec.loader)
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                _choose()
                _share_heap()
                with _uncollected():
                    execute(module)
                if early.is_command_line():
                    _leave_tensorflow_out()
                if self in sys.meta_path:
                    if self.then is not None:
                        self.then()
                    sys.meta_path.remove(self)

            loader.exec_module = exec_module
        return spec


def _share_heap() -> None:
    """Let all threads use one heap, before Keras starts any (`gatewise_keep_memory` in native/).

    XLA's threads also take the heaps of earlier threads. These hold no array above 64 MiB, so
    each step of a large model would map its temporary memory anew.
    """
    with contextlib.suppress(AttributeError, OSError):  # the C library is not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _leave_tensorflow_out() -> None:
    """Let Keras see TensorFlow only where something else has imported it.

    On another backend, Keras imports an installed TensorFlow only to ask whether an object is one
    of its own. That takes seconds of each command, and TensorFlow prints lines about the processor.
    """
    lazy = getattr(sys.modules.get("keras.src.utils.module_utils"), "tensorflow", None)
    if hasattr(lazy, "_available"):  # it is private to Keras
        imported = property(lambda _: "tensorflow" in sys.modules)
        lazy.__class__ = type("Imported", (type(lazy),), {"available": imported})


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector during an import, whose objects stay for good.

    It looks at them again and again while they become more: a fifth of the time of importing Keras.
    In the command line's own process, where nothing else of size exists yet, later collections
    leave them out as well.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if early.is_command_line():
            gc.freeze()
        if enabled:
            gc.enable()


def _spec_of_others(watch: _Watch, name: str, path: Any, target: Any) -> Any:
    """The module spec that the import system would find without this hook."""
    for finder in sys.meta_path[sys.meta_path.index(watch) + 1 :]:
        find = getattr(finder, "find_spec", None)
        spec = find and find(name, path, target)
        if spec is not None:
            return spec
    return None


def _choose() -> None:
    if not _is_configured():
        chosen = _asked_by_tensorflow() or _first_imported() or _named_by_script()
        os.environ["KERAS_BACKEND"] = chosen or "jax"
    # A script of the user's own keeps the cache that it has, or none.
    if early.is_command_line():
        compiled.keep()


def _asked_by_tensorflow() -> str | None:
    """The name of TensorFlow if it imports Keras, as `tf.keras`, whose arrays are its own."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "tensorflow":
            return "tensorflow"
        frame = frame.f_back
    return None


def _first_imported() -> str | None:
    """The framework that this process imported first; `sys.modules` keeps that order."""
    return next((name for name in sys.modules if name in FRAMEWORKS), None)


def _named_by_script() -> str | None:
    """The first installed framework that a script under `gatewise run` imports anywhere.

    Such a script was written for the backend that Keras has without gatewise. It may import that
    framework after Keras, by itself or through a module in its own folder.
    """
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not os.environ.get(RUN) or not path:
        return None
    frameworks = _frameworks(Path(path), Path(path).parent, set())
    return next((name for name in frameworks if importlib.util.find_spec(name)), None)


def _frameworks(file: Path, root: Path, seen: set[Path]) -> Iterator[str]:
    """The frameworks that a file imports, directly or through modules under `root`, in order.

    Files are parsed once each, and not executed.
    """
    if file in seen:
        return
    seen.add(file)
    for name in _imports(file, root):
        if name.partition(".")[0] in FRAMEWORKS:
            yield name.partition(".")[0]
            continue
        for imported in _files(name, root):
            yield from _frameworks(imported, root, seen)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files under `root` that an import of this module runs: its packages, then itself.

    There are none for Keras, or if `root` is the folder of all installed packages.
    """
    if name.partition(".")[0] == "keras" or root.name in ("site-packages", "dist-packages"):
        return
    place = root
    for part in name.split("."):
        place /= part
        candidates = (place / "__init__.py", place.with_name(f"{part}.py"))
        if file := next((path for path in candidates if path.is_file()), None):
            yield file
        elif not place.is_dir():
            return


def _imports(file: Path, root: Path) -> list[str]:
    """The full names that a file under `root` imports, from its first line to its last.

    `from a import b` gives `a.b`, because b may be a module.
    """
    import ast
    import warnings

    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns when it runs the file
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # not Python source
        return []
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: list[str] = []
    for node in sorted(nodes, key=lambda node: node.lineno):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        else:
            inside = file.relative_to(root).parts[: -node.level] if node.level else ()
            module = ".".join((*inside, *([node.module] if node.module else [])))
            names += [f"{module}.{alias.name}".lstrip(".") for alias in node.names]
    return names


def _is_configured() -> bool:
    """True if the user has named a backend, by KERAS_BACKEND or in the config file of Keras.

    Keras writes that file on its first import, so a file with nothing but the defaults does not
    count as a choice.
    """
    if os.environ.get("KERAS_BACKEND"):
        return True
    try:
        config = json.loads((_keras_folder() / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: the user has no home folder
        return False
    return isinstance(config, dict) and "backend" in config and config != _KERAS_DEFAULTS


def _keras_folder() -> Path:
    """The folder in which Keras looks for its config file."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"

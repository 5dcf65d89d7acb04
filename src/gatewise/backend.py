"""The backend of Keras: what the user configures or imports decides, and JAX where nothing does.

It is decided when Keras is imported, not before, so that a script has its say until then.
"""

import copy
import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FRAMEWORKS = ("jax", "tensorflow", "torch")
RUN = "GATEWISE_RUN"  # `gatewise run` sets it: the engine for a script that knows nothing of us

# What Keras writes into its config file by itself, whatever backend runs.
_UNTOUCHED = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def wait_for_keras(then: Callable[[], None] | None = None) -> None:
    """Decide the backend when Keras is first imported, and call `then` as soon as it is there."""
    if "keras" in sys.modules:
        return
    watch = next((one for one in sys.meta_path if isinstance(one, _Watch)), None)
    if watch is None:
        watch = _Watch()
        sys.meta_path.insert(0, watch)
    if then is not None:
        watch.then = then


class _Watch(importlib.abc.MetaPathFinder):
    """Acts on the first import of Keras that succeeds, however often one was looked for before."""

    then: Callable[[], None] | None = None

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "keras":
            return None
        spec = _found_by_others(self, name, path, target)
        if spec is not None and spec.loader is not None:
            # A copy, because a loader may be one for many modules.
            spec.loader = loader = copy.copy(spec.loader)
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                _choose()
                execute(module)
                if self in sys.meta_path:
                    if self.then is not None:
                        self.then()
                    sys.meta_path.remove(self)

            loader.exec_module = exec_module
        return spec


def _found_by_others(watch: _Watch, name: str, path: Any, target: Any) -> Any:
    """What the import system would find without us."""
    for finder in sys.meta_path[sys.meta_path.index(watch) + 1 :]:
        find = getattr(finder, "find_spec", None)
        spec = find and find(name, path, target)
        if spec is not None:
            return spec
    return None


def _choose() -> None:
    if not _is_configured():
        os.environ["KERAS_BACKEND"] = _first_imported() or _named_by_script() or "jax"


def _first_imported() -> str | None:
    """The framework that this process imported first; modules are kept in that order."""
    return next((name for name in sys.modules if name in FRAMEWORKS), None)


def _named_by_script() -> str | None:
    """The first framework that a script under `gatewise run` imports anywhere, if it is there.

    Such a script was written for the backend that Keras has without us, and may import that
    framework after Keras.
    """
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not os.environ.get(RUN) or not path:
        return None
    named = (name.partition(".")[0] for name in _imports(Path(path)))
    return next((one for one in named if one in FRAMEWORKS and importlib.util.find_spec(one)), None)


def _imports(script: Path) -> list[str]:
    """The names of the modules that a script imports, from its first line to its last."""
    import ast

    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):  # not a file of source text
        return []
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: list[str] = []
    for node in sorted(nodes, key=lambda node: node.lineno):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif node.module and not node.level:
            names.append(node.module)
    return names


def _is_configured() -> bool:
    """Whether the user has named a backend, by KERAS_BACKEND or in Keras's config file.

    Keras writes that file on its first import; one with nothing but its defaults is nobody's
    choice.
    """
    if os.environ.get("KERAS_BACKEND"):
        return True
    try:
        config = json.loads((_keras_folder() / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: this user has no home
        return False
    return isinstance(config, dict) and "backend" in config and config != _UNTOUCHED


def _keras_folder() -> Path:
    """Where Keras looks for its config file."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"

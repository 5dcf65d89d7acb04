"""The backend of Keras: what the user configures or imports decides, and JAX where nothing does.

It is decided when Keras is imported, not before, so that a script has its say until then.
"""

import copy
import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
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
    framework after Keras, itself or by a module that lies beside it.
    """
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not os.environ.get(RUN) or not path:
        return None
    named = _frameworks(Path(path), Path(path).parent, set())
    return next((one for one in named if importlib.util.find_spec(one)), None)


def _frameworks(file: Path, root: Path, seen: set[Path]) -> Iterator[str]:
    """The frameworks that a file imports, or a module under `root` that it imports, in order.

    Nothing is run: the files are only read, each of them once.
    """
    if file in seen:
        return
    seen.add(file)
    for name in _imports(file, root):
        if name.partition(".")[0] in FRAMEWORKS:
            yield name.partition(".")[0]
            continue
        for one in _files(name, root):
            yield from _frameworks(one, root, seen)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files under `root` that an import of this module runs: its packages, then itself.

    None where it is Keras, or where what lies beside it is all that is installed.
    """
    if name.partition(".")[0] == "keras" or root.name in ("site-packages", "dist-packages"):
        return
    place = root
    for part in name.split("."):
        place /= part
        candidates = (place / "__init__.py", place.with_name(f"{part}.py"))
        if found := next((one for one in candidates if one.is_file()), None):
            yield found
        elif not place.is_dir():
            return


def _imports(file: Path, root: Path) -> list[str]:
    """The full names of what a file under `root` imports, from its first line to its last.

    Of `from a import b`, both `a.b` and what it begins with: b may be a module.
    """
    import ast
    import warnings

    try:
        with warnings.catch_warnings(action="ignore"):  # Python says them when it runs the file
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # not a file of source text
        return []
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: list[str] = []
    for node in sorted(nodes, key=lambda node: node.lineno):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        else:
            inside = file.relative_to(root).parts[: -node.level] if node.level else ()
            module = ".".join((*inside, *([node.module] if node.module else [])))
            names += [f"{module}.{one.name}".lstrip(".") for one in node.names]
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

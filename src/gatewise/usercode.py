"""Code of the user's own: load a file of it, and name the line at which it fails."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

PACKAGE = str(Path(__file__).parent)
SHOWN = 60  # characters of a line that a message shows


def module_of(path: str) -> ModuleType:
    """The module of a Python file, which runs; it may raise anything.

    Raises:
        ImportError: the name of the file does not end in .py.
    """
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def failure(error: BaseException) -> str:
    """What went wrong in the user's code, and the last line of it that ran."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_foreign(frame.filename)]
    reason = str(error).strip().partition("\n")[0]
    text = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if isinstance(error, SyntaxError) or not own:
        return text
    line = (own[-1].line or "")[:SHOWN]
    return f"{text} ({own[-1].filename}, line {own[-1].lineno}: {line})"


def _is_foreign(file: str) -> bool:
    """Whether a file is gatewise's, a package's or Python's own."""
    return file.startswith((PACKAGE, sys.prefix, sys.base_prefix, "<frozen"))

"""Packages that only some tasks need: one that is missing is one sentence, not a traceback."""

import importlib
from typing import Any

from gatewise.errors import ConfigError


def require(module: str, extra: str, purpose: str) -> Any:
    """The module of an optional package.

    Raises:
        ConfigError: it is not installed.

    >>> require("json", "none", "Reading JSON").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ConfigError(
            f"{purpose} needs the package {package}, which is not installed. "
            f"Install it: pip install 'gatewise[{extra}]'."
        ) from None

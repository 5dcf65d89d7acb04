"""Import optional packages; a missing one raises one sentence instead of a traceback."""

import importlib
from typing import Any

from gatewise.errors import ConfigError


def require(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Raises:
        ConfigError: the package is not installed.

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

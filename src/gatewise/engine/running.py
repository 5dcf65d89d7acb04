"""`gatewise run`: replace this process by a Python that turns the engine on and runs a script."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gatewise.backend import RUN
from gatewise.engine import ENGINES
from gatewise.engine.contract import PRODUCTS
from gatewise.errors import ConfigError


def run_script(
    name: str, arguments: Sequence[str], *, engine: str, products: str, module: bool
) -> NoReturn:
    """Replace this process by `python script ...` or `python -m module ...` with the engine on.

    Python processes that the script starts have the engine, too.

    Raises:
        ConfigError: `engine` or `products` is unknown, or there is no such script.
    """
    if engine not in ENGINES:
        raise ConfigError(f"--engine takes one of {', '.join(ENGINES)}. Received: {engine}.")
    if products not in PRODUCTS:
        raise ConfigError(f"--products takes one of {', '.join(PRODUCTS)}. Received: {products}.")
    if not module:
        _require_script(Path(name))
    startup = str(Path(__file__).parents[1] / "startup")
    path = os.pathsep.join(filter(None, [startup, os.environ.get("PYTHONPATH")]))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(
        sys.executable,
        [sys.executable, *(["-m"] if module else []), name, *arguments],
        os.environ | {"PYTHONPATH": path, RUN: f"{engine} {products}"},
    )


def _require_script(script: Path) -> None:
    if script.suffix.lower() == ".ipynb":
        raise ConfigError(
            f"{script} is a notebook, but Python runs scripts. Convert it: jupyter nbconvert "
            f"--to script {script}. Or start it with: import gatewise; gatewise.accelerate()."
        )
    if script.exists() or str(script) == "-":  # standard input
        return
    module = script.name.isidentifier() and importlib.util.find_spec(script.name)
    more = f" To run a module: gatewise run -m {script}." if module else ""
    raise ConfigError(f"There is no script {script}.{more}")

"""`gatewise run`: Python itself runs the script, and turns the engine on before it."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gatewise.backend import RUN
from gatewise.engine import ENGINES
from gatewise.errors import ConfigError


def run_script(name: str, arguments: Sequence[str], *, engine: str, module: bool) -> NoReturn:
    """Become `python script ...`, or `python -m module ...`, with the engine on.

    The processes that the script starts by Python have it too.
    """
    if engine not in ENGINES:
        raise ConfigError(f"--engine wants one of {', '.join(ENGINES)}. Received: {engine}.")
    if not module:
        _refuse_what_is_no_script(Path(name))
    startup = str(Path(__file__).parents[1] / "startup")
    path = os.pathsep.join(filter(None, [startup, os.environ.get("PYTHONPATH")]))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(
        sys.executable,
        [sys.executable, *(["-m"] if module else []), name, *arguments],
        os.environ | {"PYTHONPATH": path, RUN: engine},
    )


def _refuse_what_is_no_script(script: Path) -> None:
    if script.suffix.lower() == ".ipynb":
        raise ConfigError(
            f"{script} is a notebook, and Python runs scripts. Make one of it: jupyter nbconvert "
            f"--to script {script}. Or begin it with: import gatewise; gatewise.accelerate()."
        )
    if script.exists() or str(script) == "-":  # standard input
        return
    module = script.name.isidentifier() and importlib.util.find_spec(script.name)
    more = f" A module is run by: gatewise run -m {script}." if module else ""
    raise ConfigError(f"There is no script {script}.{more}")

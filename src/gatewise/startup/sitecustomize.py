"""What `gatewise run` has Python do at its start: turn the engine on, for Keras when it comes.

Python imports a module of this name by itself, in a script's process and in those it starts. So the
script runs as it would without us: by Python, as `__main__`, with no frame of ours above it.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

# The folder was put on the path for this file alone; another one of its name has its turn.
_HERE = Path(__file__).parent
sys.path[:] = [one for one in sys.path if not one or Path(one) != _HERE]
_other = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if _other is not None and _other.loader is not None:
    _module = importlib.util.module_from_spec(_other)
    sys.modules["sitecustomize"] = _module
    _other.loader.exec_module(_module)

# A script may start a Python that does not have gatewise.
if os.environ.get("GATEWISE_RUN") and importlib.util.find_spec("gatewise"):
    from gatewise.engine import accelerate

    accelerate(engine=os.environ["GATEWISE_RUN"])  # type: ignore[arg-type]  # it refuses others

"""Turn the engine on at the start of Python, for `gatewise run`.

Python imports a module of this name by itself, in the process of a script and in those that the
script starts. So the script runs as without gatewise: as `__main__`, with no frame above it.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

# The folder is on the path only for this file. Another module of this name is imported, too.
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

    _engine, _, _products = os.environ["GATEWISE_RUN"].partition(" ")
    # Names that `accelerate` does not know are refused there, with a sentence.
    accelerate(engine=_engine, products=_products or "float32")  # type: ignore[arg-type]

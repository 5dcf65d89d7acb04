"""Run the scripts that are named, in one process."""

import runpy
import sys

for name in sys.argv[1:]:
    runpy.run_path(name, run_name="__main__")

"""How much memory does training from a CSV of 1 GB take, compared with its parsed columns?

    python benchmarks/memory.py [--gigabytes 1.0]

Writes a table of ten columns to a temporary folder. `gatewise train` forecasts one column from all
of them in a separate process, whose peak resident memory is compared with the bytes of the parsed
columns (8 per cell). The promise is at most 3 times as much. Writes benchmarks/results/memory.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

RESULTS = Path(__file__).parent / "results" / "memory.json"
COLUMNS = 10
CHUNK = 500_000  # rows per write


def write(path: Path, size: float) -> int:
    """Write about `size` bytes and return the number of rows."""
    random, rows = np.random.default_rng(0), 0
    level = np.zeros(COLUMNS)
    with path.open("wb") as file:
        while file.tell() < size:
            walk = level + random.normal(size=(CHUNK, COLUMNS)).cumsum(axis=0)
            level = walk[-1]
            frame = pl.DataFrame(walk.round(4), schema=[f"s{number}" for number in range(COLUMNS)])
            frame = frame.with_columns(pl.int_range(rows, rows + CHUNK).alias("step"))
            frame.write_csv(file, include_header=rows == 0)
            rows += CHUNK
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    wanted = parser.parse_args().gigabytes * 1e9
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        rows = write(table, wanted)
        covariates = [f"s{number}" for number in range(1, COLUMNS)]
        command = [sys.executable, "-m", "gatewise", "train", str(table), "--task", "forecast"]
        command += ["--target", "s0", "--set", "data.time=step", "--set", f"data.past={covariates}"]
        command += ["--horizon", "24", "--lookback", "96", "--epochs", "1", "-o", f"{folder}/run"]
        # A stride of a thousand steps takes the memory of all windows, but not their time.
        command += ["--set", "task.stride=1000", "--set", "network.units=[16]"]
        subprocess.run(command, check=True)
        size = table.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    parsed = rows * (COLUMNS + 1) * 8
    found = {
        "file_bytes": size,
        "rows": rows,
        "parsed_bytes": parsed,
        "peak_bytes": peak,
        "ratio": peak / parsed,
    }
    print(json.dumps(found, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

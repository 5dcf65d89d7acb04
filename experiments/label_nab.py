"""Write the NAB series with their labelled windows as a column `anomaly` into a folder."""

import csv
import json
import sys
from datetime import datetime
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Write one CSV for each series in `source`/data, as `source`/labels marks its steps."""
    windows = json.loads((source / "labels" / "combined_windows.json").read_text())
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "data").glob("*/*.csv")):
        name = path.relative_to(source / "data").as_posix()
        spans = [[datetime.fromisoformat(end) for end in span] for span in windows[name]]
        with path.open() as rows, (target / path.name).open("w", newline="") as made:
            writer = csv.writer(made)
            writer.writerow(["time", "value", "anomaly"])
            for row in csv.DictReader(rows):
                moment = datetime.fromisoformat(row["timestamp"])
                marked = any(begin <= moment <= end for begin, end in spans)
                writer.writerow([row["timestamp"], row["value"], int(marked)])


main(*map(Path, sys.argv[1:]))

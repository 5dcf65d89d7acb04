"""Write the NAB series with a column `anomaly`, which marks the steps of their labelled windows.

    python experiments/label_nab.py $GATEWISE_DATA/nab nab

Writes one table for each series: time, value and anomaly.
"""

import argparse
import csv
import json
from datetime import datetime
from pathlib import Path


def spans_of(folder):
    """The labelled windows of each series, by its path in the folder of data."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    return {
        name: [tuple(map(datetime.fromisoformat, span)) for span in spans]
        for name, spans in labels.items()
    }


def main():
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with data and labels, as NAB has them")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    spans = spans_of(chosen.folder)
    for path in sorted((chosen.folder / "data").glob("*/*.csv")):
        name = path.relative_to(chosen.folder / "data").as_posix()
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(row["timestamp"], row["value"]) for row in csv.DictReader(file)]
        with (chosen.output / path.name).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["time", "value", "anomaly"])
            for time, value in rows:
                moment = datetime.fromisoformat(time)
                table.writerow([time, value, int(any(a <= moment <= b for a, b in spans[name]))])


if __name__ == "__main__":
    main()

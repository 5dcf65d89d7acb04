"""Join the training and the test file of M4's hourly series, whose last 48 steps are then the test.

    python experiments/join_m4.py $GATEWISE_DATA/m4-hourly m4-hourly.csv

Writes one row for each series: its id and its values.
"""

import argparse
import csv
from pathlib import Path


def rows_of(path):
    """The values of each series as they are written, by its id."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row[0]: [cell for cell in row[1:] if cell] for row in list(csv.reader(file))[1:]}


def main():
    """Write the joined table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with Hourly-train.csv and Hourly-test.csv")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    past, ahead = (rows_of(chosen.folder / f"Hourly-{part}.csv") for part in ("train", "test"))
    rows = [[name, *values, *ahead[name]] for name, values in past.items()]
    longest = max(map(len, rows))
    with chosen.output.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", *(f"h{step}" for step in range(1, longest))])
        table.writerows(row + [""] * (longest - len(row)) for row in rows)


if __name__ == "__main__":
    main()

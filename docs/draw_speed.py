"""Draw the speed-up of steps, as one SVG, from benchmarks/results/training.json.

Run: python docs/draw_speed.py docs/images/speed.svg
"""

import json
import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "training.json"
STYLE = {"stock": "#c3cad2", "ours": "#1463ad", "text": "#4a5460"}


def draw(rows: list[dict], path: Path) -> None:
    """Draw two bars per workload, with lengths relative to a step of stock Keras."""
    figure = Figure(figsize=(9, 0.5 * len(rows) + 0.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        share = row["ours ms"] / row["stock ms"]
        axes.barh(place - 0.2, 1, 0.36, color=STYLE["stock"])
        axes.barh(place + 0.2, share, 0.36, color=STYLE["ours"])
        said = f"{row['ours ms']:.3g} ms, {row['stock / ours']:.1f} times as fast"
        axes.text(share + 0.01, place + 0.21, said, va="center", fontsize=8, color=STYLE["text"])
        axes.text(1.01, place - 0.19, f"{row['stock ms']:.3g} ms", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row["workload"] for row in rows], fontsize=8)
    axes.set_xticks([])
    axes.set_xlim(0, 1.12)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    title = "a step with stock Keras (grey) and with gatewise (blue)"
    axes.set_title(title, fontsize=9, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "gatewise", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(RESULTS.read_text(encoding="utf-8"))["rows"], Path(sys.argv[1]))

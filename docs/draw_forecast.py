"""Draw the forecasts of a run folder over the true values, as one SVG.

    python docs/draw_forecast.py RUN docs/images/nyc-taxi.svg [DAYS]

The forecasts come from predictions.csv, consecutive ones at the end of the test part.
"""

import sys
from pathlib import Path

import matplotlib.dates
import numpy as np
import polars as pl
from matplotlib.figure import Figure

STYLE = {"truth": "#1a1e24", "forecast": "#1463ad", "grid": "#e3e7eb", "text": "#4a5460"}


def forecasts(run: Path, days: int) -> list[pl.DataFrame]:
    """The last forecasts that do not overlap, oldest first."""
    rows = pl.read_csv(run / "predictions.csv", try_parse_dates=True)
    first = rows["target"][0]
    parts = rows.filter(pl.col("target") == first).partition_by("origin", maintain_order=True)
    chosen = [parts[-1]]
    begin = parts[-1]["time"].max() - np.timedelta64(days, "D").astype(object)
    for part in reversed(parts):
        if part["time"].max() < chosen[-1]["time"].min() and part["time"].min() >= begin:
            chosen.append(part)
    return chosen[::-1]


def draw(parts: list[pl.DataFrame], path: Path) -> None:
    """Draw the true values as a line, and each forecast with the band of its outer quantiles."""
    figure = Figure(figsize=(9, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    names = [name for name in parts[0].columns if name.startswith("q0.")]
    for number, part in enumerate(parts):
        times = part["time"].to_numpy()
        label = f"{names[0][1:]} to {names[-1][1:]} quantile" if not number else None
        band = (part[names[0]].to_numpy(), part[names[-1]].to_numpy())
        axes.fill_between(times, *band, color=STYLE["forecast"], alpha=0.2, lw=0, label=label)
        label = "forecast (median)" if not number else None
        axes.plot(times, part[names[len(names) // 2]], color=STYLE["forecast"], lw=1.6, label=label)
        axes.axvline(times[0], color=STYLE["grid"], lw=0.8, zorder=0)
    truth = pl.concat(parts)
    axes.plot(truth["time"], truth["truth"], color=STYLE["truth"], lw=1, label="what happened")
    locator = matplotlib.dates.AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=STYLE["text"], length=0)
    axes.grid(axis="y", color=STYLE["grid"])
    axes.margins(x=0.01)
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    wanted = int(sys.argv[3]) if len(sys.argv) > 3 else 14
    draw(forecasts(Path(sys.argv[1]), wanted), Path(sys.argv[2]))

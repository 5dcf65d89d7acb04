"""Forecast a column of a Polars frame (pandas works as well)."""

from datetime import date

import numpy as np
import polars as pl

import gatewise

days = pl.date_range(date(2024, 1, 1), date(2024, 12, 31), eager=True)
week = 10 * np.sin(2 * np.pi * np.arange(len(days)) / 7)
noise = np.random.default_rng(0).normal(0, 2, len(days))
frame = pl.DataFrame({"day": days, "visitors": 100 + week + noise})

run = gatewise.train(frame, target="visitors", horizon=7, lookback=21, epochs=3)
print(run.metrics["verdict"]["sentence"])
print(gatewise.predict(run, frame))

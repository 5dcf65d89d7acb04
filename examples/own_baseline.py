"""Judge the network beside a forecaster of your own: here, the mean of the last four weeks."""

import numpy as np
import polars as pl

import gatewise

random = np.random.default_rng(0)
days = np.datetime64("2024-01-01") + np.arange(400) * np.timedelta64(1, "D")
visits = 100 + 30 * (np.arange(400) % 7 > 4) + random.normal(0, 8, size=400)


def four_weeks(past):
    """The mean of the same weekday in the last four weeks, [horizon]."""
    weeks = past.targets[-28:, 0].reshape(4, 7)
    return np.resize(weeks.mean(axis=0), past.horizon)


run = gatewise.train(
    pl.DataFrame({"day": days, "visits": visits}),
    horizon=7,
    epochs=3,
    settings={"network": {"units": [8]}},
    baseline=four_weeks,
)
for name, scores in run.metrics["baselines"].items():
    print(f"{name:22} mae {scores['mae']:.2f}")
print(run.metrics["verdict"]["sentence"])

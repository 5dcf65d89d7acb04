"""Train on a pump that wears out, save the run, and answer its sensor line by line."""

import numpy as np
import polars as pl

import gatewise

random = np.random.default_rng(0)


def sensor(worn):
    """Flow and pressure of a pump, a step at a time; a worn one loses pressure."""
    for step in range(20):
        pressure = 2 - 0.05 * step * worn + 0.2 * random.normal()
        yield {"flow": np.sin(step / 3) + 0.2 * random.normal(), "pressure": pressure}


states = ("fine", "worn")
rows = [{"pump": k, "state": states[k % 2], **row} for k in range(40) for row in sensor(k % 2)]
settings = {"data": {"id": ["pump"], "label": "state"}, "network": {"units": [8]}}
gatewise.train(
    pl.DataFrame(rows), task="classify", settings=settings, epochs=10, output="runs/pumps"
)

stream = gatewise.Stream("runs/pumps")
for row in sensor(worn=True):
    stream.push(row)
    for answer in stream.read():
        print(answer["step"], answer["label"], f"{answer['p(worn)']:.2f}")

"""Train on a pump that wears out, save the run, and answer its sensor line by line."""

import numpy as np

import gatewise

random = np.random.default_rng(0)


def sensor(worn):
    """Flow and pressure of a pump, a step at a time; a worn one trembles."""
    for step in range(40):
        tremble = random.normal() * (0.5 if worn else 0.1)
        yield {"flow": np.sin(step / 3) + tremble, "pressure": np.cos(step / 3) + 0.5 * tremble}


rows = [{"pump": k, "state": ("fine", "worn")[k % 2], **row}
        for k in range(60) for row in sensor(k % 2)]  # fmt: skip
table = {name: [row[name] for row in rows] for name in rows[0]}
settings = {"data": {"id": ["pump"], "label": "state"}, "training": {"epochs": 10}}
gatewise.train(table, task="classify", settings=settings, output="runs/pumps")

stream = gatewise.Stream("runs/pumps")
for row in sensor(worn=True):
    stream.push(row)
    for answer in stream.read():
        print(answer["step"], answer["label"], f"{answer['p(worn)']:.2f}")

"""Train a character language model on the beginning of a play, and generate text."""

import gatewise

settings = {
    "network": {"units": [48]},
    "training": {"epochs": 4, "batch_size": 32, "learning_rate": 0.02},
    "evaluation": {"n_resamples": 200},
}
run = gatewise.train("shakespeare", settings=settings)
print(run.metrics["verdict"]["sentence"])
print(gatewise.generate(run, "CORIOLANUS:\n", length=120, temperature=0.7, seed=1))

lines = gatewise.predict(run, ["What say you to that?\nxq zzk qx wpt\n"])
print(lines.select("text", "bits_per_character"))

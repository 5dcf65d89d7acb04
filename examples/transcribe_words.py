"""Transcribe the recordings that ship with gatewise, and print a few transcripts."""

import gatewise

settings = {
    "task": {"name": "transcribe"},
    "preparation": {"hop_length": 16.0, "frame_length": 32.0},
    "network": {"units": [32]},
    "training": {"epochs": 25, "batch_size": 4, "learning_rate": 0.005, "speed_perturbation": 0.1},
}
run = gatewise.train("spoken-words", settings=settings)
for measure, value in run.metrics["metrics"].items():
    print(f"{measure}: {value:.3f}")
print(gatewise.predict(run, "spoken-words").sample(5, seed=0))

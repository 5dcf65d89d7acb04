"""Classify rising and falling sequences of different lengths, from NumPy arrays."""

import numpy as np

import gatewise

random = np.random.default_rng(0)
labels = np.array(["falling", "rising"])[np.arange(120) % 2]
slopes = np.where(labels == "rising", 0.5, -0.5)
sequences = [
    np.cumsum(random.normal(slope, 1.0, size=(random.integers(15, 30), 1)), axis=0)
    for slope in slopes
]

classifier = gatewise.Classifier(units=(8,), epochs=8, batch_size=16, learning_rate=0.01)
classifier.fit(sequences[:80], labels[:80])
print(f"accuracy on 40 new sequences: {classifier.score(sequences[80:], labels[80:]):.3f}")
print("probabilities:", classifier.predict_proba(sequences[80:82]).round(3).tolist())

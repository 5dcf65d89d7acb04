"""Temperature scaling: probabilities that mean what they say."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from gatewise.data.sequences import Array


def fit_temperature(outputs: Array, labels: Array) -> float:
    """The temperature that makes the labels [n] most likely under logits [n, classes].

    Guo et al., "On Calibration of Modern Neural Networks", 2017. It is 1 where no answer is wrong,
    because any sharpening would then look good, without end; also where there is no answer at all.
    """
    logits = outputs.astype(np.float64)
    if (logits.argmax(axis=1) == labels).all():
        return 1.0

    def nll(log_temperature: float) -> float:
        likely = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-likely[np.arange(len(labels)), labels].mean())

    best = minimize_scalar(nll, bounds=(-3.0, 3.0), method="bounded")
    return float(np.exp(best.x))

"""Temperature scaling, to calibrate probabilities."""

from collections.abc import Callable

import numpy as np

from gatewise.data.sequences import Array


def fit_temperature(outputs: Array, labels: Array) -> float:
    """The temperature that makes the labels [n] most likely under logits [n, classes].

    Guo et al., "On Calibration of Modern Neural Networks", 2017. The temperature is 1 without any
    wrong prediction, because the likelihood would then grow with every sharpening, and 1 without
    any labels.
    """
    from scipy.special import log_softmax  # it takes a quarter of a second, predictions do without

    logits = outputs.astype(np.float64)
    if (logits.argmax(axis=1) == labels).all():
        return 1.0

    def nll(temperature: float) -> float:
        log_probabilities = log_softmax(logits / temperature, axis=1)
        return float(-log_probabilities[np.arange(len(labels)), labels].mean())

    return best_temperature(nll)


def best_temperature(nll: Callable[[float], float]) -> float:
    """The temperature between e^-3 and e^3 with the lowest negative log likelihood."""
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(lambda x: nll(np.exp(x)), bounds=(-3.0, 3.0), method="bounded")
    return float(np.exp(best.x))

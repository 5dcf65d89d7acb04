"""Scores, p-values and alarms from errors of prediction.

The score of a step is the Mahalanobis distance of its error from the errors on normal steps of the
validation part. Malhotra et al. (2015, ESANN, "Long short term memory networks for anomaly
detection in time series", LSTM-AD) fit a normal distribution to the errors of an LSTM that predicts
the next values, and score a step by its likelihood, of which this distance is a monotone function.
Hundman et al. (2018, KDD, arXiv:1802.04431, telemanom) smooth the errors of such an LSTM; here a
score is not smoothed, so the alarm of a spike is where the spike is.

The threshold is that of split conformal prediction (Vovk et al. 2005; Laxhammar & Falkman 2010 for
anomalies): if the normal steps to come are exchangeable with those of the validation part, a share
of at most `false_alarms` of them is above it.
"""

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ArtefactError
from gatewise.tasks.detect.fitted import Yardstick

MIN_CALIBRATION = 20  # steps; the spread of fewer errors is too uncertain
MOST_CALIBRATION = 10_000  # steps whose scores are saved; more are thinned evenly
ROUNDING = 1e-4  # share by which kernels differ, so that no calibration step is above itself
SCORE, P_VALUE, ALARM, EXPECTED = 0, 1, 2, 3  # columns of predictions; expected values come last


def yardstick_of(errors: Array, false_alarms: float) -> Yardstick:
    """The yardstick of errors [steps, columns] on normal steps."""
    from sklearn.covariance import ledoit_wolf

    centre, size = errors.mean(axis=0), errors.std(axis=0)
    size = np.where(size > 0, size, 1.0)  # an error that never changed
    # Shrunk (Ledoit & Wolf 2004), because few steps leave the covariance of many errors singular.
    covariance = ledoit_wolf((errors - centre) / size)[0] + 1e-9 * np.eye(len(centre))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T / size[:, None]
    found = Yardstick(tuple(centre.tolist()), tuple(map(tuple, whitening.tolist())))
    return calibrated(found, scores_of(errors, found), false_alarms)


def calibrated(yardstick: Yardstick, scores: Array, false_alarms: float) -> Yardstick:
    """The yardstick with scores [steps] of normal steps, and the threshold that follows from all.

    If there are too few steps for the rate, the threshold is the highest of their scores.
    """
    count, ordered = len(scores), np.sort(scores)
    place = int(np.ceil((count + 1) * (1 - false_alarms) - 1e-9))
    threshold = float(ordered[min(place, count) - 1]) * (1 + ROUNDING)
    kept = np.unique(np.linspace(0, count - 1, min(count, MOST_CALIBRATION)).astype(np.int64))
    saved = np.sort(scores[kept])
    return Yardstick(yardstick.centre, yardstick.whitening, tuple(saved.tolist()), threshold)


def scores_of(errors: Array, yardstick: Yardstick) -> Array:
    """The Mahalanobis distance of each error, [steps]; without a yardstick the Euclidean one."""
    if yardstick.centre:
        errors = (errors - np.array(yardstick.centre)) @ np.array(yardstick.whitening)
    found: Array = np.sqrt(np.square(errors).sum(axis=1))
    return found


def refuse_uncalibrated(yardstick: Yardstick) -> None:
    """Refuse a run without a threshold, because it would never give an alarm.

    Raises:
        ArtefactError: its evaluation was interrupted, or its folder is damaged.
    """
    if not yardstick.scores:
        raise ArtefactError(
            "The run has no threshold of alarms, because its evaluation was interrupted or its "
            "folder is damaged. Train it again, and let it evaluate."
        )


def judged(scores: Array, yardstick: Yardstick, expected: Array) -> Array:
    """Predictions [steps, 3 + columns]: score, p-value, alarm, and the expected values.

    The p-value is the share of the calibration scores that are at least as large, the step itself
    included.
    """
    known = np.array(yardstick.scores)
    above = len(known) - np.searchsorted(known, scores, side="left")
    p_values = (1 + above) / (1 + len(known))
    alarms = (scores > yardstick.threshold) if len(known) else np.zeros(len(scores), bool)
    return np.column_stack([scores, p_values, alarms, expected])

"""Folds: assign every sequence to one part of several, for cross-validation."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from gatewise.data.sequences import Array

TRIES = 20  # random assignments of groups, of which the first one that works is used


def assign(strata: Array | None, groups: Array | None, count: int, size: int, seed: int) -> Array:
    """The fold of each of `size` sequences, [size] int below `count`; all 0 if none works.

    Groups are never divided. Each stratum, such as a label, is spread evenly over the folds. With
    groups, an assignment works if no stratum lies in a single fold, because the networks that are
    tested on it would never have seen it.
    """
    _, codes = np.unique(
        np.zeros(size) if strata is None else strata.astype(str), return_inverse=True
    )
    if groups is None:
        random = np.random.default_rng(seed)
        mixed = random.permutation(size)
        mixed = mixed[np.argsort(codes[mixed], kind="stable")]  # by stratum, shuffled within each
        folds = np.empty(size, dtype=np.int64)
        folds[mixed] = np.arange(size) % count
        return folds
    if len(np.unique(groups)) < count:
        return np.zeros(size, dtype=np.int64)
    # scikit-learn refuses strata that are all smaller than the number of folds.
    spread = codes if np.bincount(codes).max() >= count else np.zeros_like(codes)
    for attempt in range(TRIES):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + attempt)
        folds = np.zeros(size, dtype=np.int64)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            parts = list(splitter.split(spread, spread, groups))
        for number, (_, tested) in enumerate(parts):
            folds[tested] = number
        pairs = np.unique(np.stack([codes, folds]), axis=1)
        filled = len(np.unique(folds)) == count
        if filled and (np.bincount(pairs[0]) > 1).all():
            return folds
    return np.zeros(size, dtype=np.int64)

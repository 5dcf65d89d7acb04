"""The leak audit of every run: what the parts share, and what reveals the answer.

A finding is a fact about the data, not a proof of an error. It names the place and what to do.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences, comparable, fingerprint, texts_of
from gatewise.data.splits import Splits
from gatewise.settings import Experiment
from gatewise.tasks.task import AnyTask, Truth

log = logging.getLogger("gatewise")

DUPLICATES = "duplicates"  # a kind of finding
NEAR = 0.01  # two values are nearly equal within this share of the column's deviation
UNEXPLAINED = 1e-6  # the share of the variance that a copy of the target leaves at most
LEAST = 20  # fewer pairs are equal by chance
LONG, LONG_TOKENS = 40, 8  # bytes and tokens; shorter texts repeat without being copies
COMMON = 0.01  # the share of a part's texts from which copies are a finding
MOST = 2000  # sequences of a held part that are looked up, and of training that are examined
# Sequences are compared in CELLS of ASKED_CELLS, and then with NEIGHBOURS others.
CELLS, ASKED_CELLS, NEIGHBOURS = 32, 256, 20
STEPS = 5000  # steps of a series that are compared with its target
LISTED = 5  # places that a finding names
# Fewer labels that are surely wrong are the mistakes of a good network.
SUSPECT, LEAST_SUSPECTS = 0.03, 5


@dataclass(frozen=True)
class Finding:
    """One leak."""

    kind: str  # duplicates, group, overlap, target, order, shuffled, reversed or labels
    where: str
    advice: str

    def sentence(self) -> str:
        """The finding as a line of text."""
        return f"Audit ({self.kind}): {self.where}. {self.advice}"


def audit(
    task: AnyTask, splits: Splits, preparation: Preparation[Any], experiment: Experiment
) -> list[dict[str, str]]:
    """The leaks of the parts, as mappings of `kind`, `where`, `advice`."""
    findings: list[Finding] = []
    for name in ("validation", "test"):
        held = getattr(splits, name)
        if held is not None:
            findings += _between(splits.train, held, name)
    for truth in task.examined(splits.train, preparation, experiment):
        findings += _telling(splits.train, truth)
    return [asdict(finding) for finding in findings]


def tell(findings: Iterable[Mapping[str, str]]) -> None:
    """Log each finding."""
    for one in findings:
        log.warning("%s", Finding(**one).sentence())


def copies(findings: Iterable[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The findings with copies in two parts, which `of_folds` replaces."""
    return [one for one in findings if one["kind"] == DUPLICATES]


def of_folds(
    findings: list[dict[str, str]], sequences: Sequences, folds: Array
) -> list[dict[str, str]]:
    """The findings with copies in two folds, in place of those in two parts, which nobody judges.

    `folds` has the fold of each sequence.
    """
    pairs = set[tuple[int, int]]()
    for fold in np.unique(folds):
        ours, theirs = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        for j, k in _copies(sequences.chosen(ours), sequences.chosen(theirs)):
            pairs.add((min(theirs[j], ours[k]), max(theirs[j], ours[k])))
    kept = [one for one in findings if one["kind"] != DUPLICATES]
    if not pairs:
        return kept
    several = f"{len(pairs):,} pairs of sequences" if len(pairs) > 1 else "a pair of sequences"
    places = [f"{sequences.ids[j]} = {sequences.ids[k]}" for j, k in sorted(pairs)]
    finding = Finding(
        DUPLICATES,
        f"{several} in two folds {_are(sorted(pairs))} equal or nearly so ({_listed(places)})",
        "Remove the copies, or give copies one group (data.group), so that they stay in one fold",
    )
    return [asdict(finding), *kept]


def of_labels(suspects: Mapping[str, Any] | None) -> Iterator[Finding]:
    """A finding if more labels are surely wrong than those that a good network mistakes."""
    if not suspects or suspects["sure"] < max(LEAST_SUSPECTS, SUSPECT * suspects["examined"]):
        return
    places = [
        f"{one['where']} ({one['label']}, probably {one['likely']})" for one in suspects["each"]
    ]
    finding = Finding(
        "labels",
        f"{suspects['sure']:,} of {suspects['examined']:,} labels of the judged examples are "
        f"probably wrong, the most suspect first: {_listed(places[: suspects['sure']])}",
        "Look at them (suspects in metrics.json lists them), and correct the wrong ones",
    )
    log.warning("%s", finding.sentence())
    yield finding


def _between(train: Sequences, held: Sequences, name: str) -> Iterator[Finding]:
    """What the training part shares with a held part."""
    pairs = _copies(train, held)
    if pairs:
        several = f"{len(pairs):,} of {len(held):,} sequences" if len(pairs) > 1 else "a sequence"
        places = [f"{held.ids[j]} = {train.ids[k]}" for j, k in pairs]
        yield Finding(
            DUPLICATES,
            f"{several} of the {name} part {_are(pairs)} also in the training part, equal or "
            f"nearly so ({name} = training: {_listed(places)})",
            "Remove the copies, or give copies one group (data.group), so that they stay in one "
            "part",
        )
    if train.groups is not None and held.groups is not None:
        apart = held.groups
        if train.values is held.values:  # a sequence that is cut by time is on both sides
            apart = apart[~np.isin(held.first, train.first)]
        shared = np.intersect1d(train.groups.astype(str), apart.astype(str)).tolist()
        if shared:
            yield Finding(
                "group",
                f"groups have sequences in the training part and in the {name} part: "
                f"{_listed(shared)}",
                "Split by group (split.by = group), or move the files so that each group is in one",
            )
    shared = _overlaps(train, held)
    if shared:
        yield Finding(
            "overlap",
            f"the {name} part repeats steps of the training part: {_listed(shared)}",
            f"Let the {name} part begin after the last step of the training part",
        )


def _copies(train: Sequences, held: Sequences) -> list[tuple[int, int]]:
    """Pairs (held, training) of equal or nearly equal sequences."""
    if train.kind == "numbers":
        return _near(train, held)
    if train.kind == "sound":
        return _equal(_keys(train), _keys(held))
    least = LONG if train.kind == "text" else LONG_TOKENS
    chosen = np.flatnonzero(held.lengths >= least)
    pairs = _equal(_keys(train), _keys(held.chosen(chosen)))
    pairs = [(int(chosen[j]), k) for j, k in pairs]
    return pairs if len(pairs) >= max(2, COMMON * len(held)) else []


def _keys(part: Sequences) -> list[str]:
    """A key for each sequence, the same for equal ones; for texts, letters and digits alone."""
    if part.kind != "text":
        return [fingerprint(steps) for steps in comparable(part)]
    return ["".join(filter(str.isalnum, text.casefold())) for text in texts_of(part)]


def _equal(train: list[str], held: list[str]) -> list[tuple[int, int]]:
    first = {key: k for k, key in reversed(list(enumerate(train)))}
    return [(j, first[key]) for j, key in enumerate(held) if key in first]


def _near(train: Sequences, held: Sequences) -> list[tuple[int, int]]:
    """Pairs of sequences whose numbers are nearly equal at every step.

    Sequences of one length are compared in a few cells first, and then as a whole with those that
    are nearest there. A sequence that hardly changes cannot be recognised.
    """
    from scipy.spatial import cKDTree

    if train.columns != held.columns:
        return []
    lengths = np.intersect1d(train.lengths, held.lengths)
    lengths = lengths[lengths > 1]
    if not len(lengths):
        return []
    some = np.linspace(0, len(train.values) - 1, STEPS).astype(int)
    spread = np.nanstd(train.values[some].astype(np.float64), axis=0)
    spread[~(spread > 0)] = 1.0
    asked = np.linspace(0, len(held) - 1, min(MOST, len(held))).astype(int)
    pairs = []
    for length in lengths.tolist():
        ours = np.flatnonzero(train.lengths == length)
        theirs = asked[held.lengths[asked] == length]
        if not len(theirs):
            continue
        steps, columns = _telling_cells(train, ours, spread)
        tree = cKDTree(_cells(train, ours, steps, columns, spread))
        outlines = _cells(held, theirs, steps, columns, spread)
        _, nearest = tree.query(outlines, NEIGHBOURS, p=np.inf, distance_upper_bound=NEAR)
        for j, near in zip(theirs.tolist(), nearest, strict=True):
            asked_for = held[j].astype(np.float64) / spread
            if not (np.nanstd(asked_for, axis=0) > 10 * NEAR).any():
                continue
            for k in ours[near[near < len(ours)]].tolist():  # the tree says len(ours) for none
                if np.allclose(train[k] / spread, asked_for, rtol=0, atol=NEAR, equal_nan=True):
                    pairs.append((j, k))
                    break
    return sorted(pairs)


def _telling_cells(part: Sequences, indices: Array, spread: Array) -> tuple[Array, Array]:
    """The steps and columns in which sequences of one length differ most, [cells] each."""
    length, columns = int(part.lengths[indices[0]]), len(part.columns)
    asked = np.unique(np.linspace(0, length * columns - 1, ASKED_CELLS).astype(int))
    some = indices[np.linspace(0, len(indices) - 1, min(MOST, len(indices))).astype(int)]
    cells = np.divmod(asked, columns)
    differing = _cells(part, some, *cells, spread).std(axis=0)
    chosen = np.argsort(-differing, kind="stable")[:CELLS]
    return cells[0][chosen], cells[1][chosen]


def _cells(part: Sequences, indices: Array, steps: Array, columns: Array, spread: Array) -> Array:
    """These cells of the sequences, scaled, with 0 for an empty one, [indices, cells]."""
    values = part.values[part.starts[indices][:, None] + steps, columns].astype(np.float64)
    scaled: Array = np.nan_to_num(values / spread[columns])
    return scaled


def _overlaps(train: Sequences, held: Sequences) -> list[str]:
    """The ids of sequences whose steps lie in both parts."""
    found = []
    places = {str(name): k for k, name in enumerate(train.ids)}
    for j, name in enumerate(held.ids[:MOST].tolist()):
        k = places.get(str(name))
        if k is None:
            continue
        if train.values is held.values:
            inside = held.starts[j] < train.stops[k] and train.starts[k] < held.stops[j]
        elif train.times is not None and held.times is not None:
            ours = train.times[train.starts[k] : train.stops[k]]
            theirs = held.times[held.starts[j] : held.stops[j]]
            inside = ours.dtype == theirs.dtype and bool(np.isin(theirs, ours).any())
            inside = inside and _repeats(train[k], held[j])
        else:
            inside = len(held[j]) != len(train[k]) and _repeats(train[k], held[j])
        if inside:
            found.append(str(name))
    return found


def _repeats(ours: Array, theirs: Array) -> bool:
    """Whether the first steps of `theirs` occur in `ours`, one after the other."""
    window = theirs[: min(len(theirs), LEAST)]
    if len(window) < LEAST or np.nanstd(window[:, 0].astype(np.float64)) == 0:
        return False
    starts = np.flatnonzero(ours[: len(ours) - LEAST + 1, 0] == window[0, 0])[:MOST]
    return any(
        np.array_equal(ours[start : start + LEAST], window, equal_nan=ours.dtype.kind == "f")
        for start in starts.tolist()
    )


def _telling(train: Sequences, truth: Truth) -> Iterator[Finding]:
    """The features and the times of the training part that reveal the truth."""
    if truth.per_step:
        yield from _copies_of_target(train, truth)
        return
    some = np.linspace(0, len(train) - 1, min(MOST, len(train))).astype(int)
    known = truth.values[some]
    if len(np.unique(known)) < 2 or len(some) < LEAST:
        return
    for name in truth.features:
        column = train.columns.index(name)
        cells = [train[k][:, column].astype(np.float64) for k in some.tolist()]
        firsts = np.array([one[0] if len(one) else np.nan for one in cells])
        constant = all(len(one) and (one == one[0]).all() for one in cells)
        if (constant and _names(firsts, known)) or _equals(firsts, known):
            yield Finding(
                "target",
                f"column '{name}' determines {truth.name} in all of {len(some):,} sequences "
                "that were examined",
                f"Leave it out (data.features), unless it is known before {truth.name} is",
            )
        rising = not constant and all((np.diff(one) > 0).all() for one in cells)
        if rising and _ordered(firsts, known):
            yield _order(f"column '{name}'", truth.name)
    if train.times is not None:
        begins = train.times[train.starts[some]]
        if _ordered(begins, known):
            yield _order("the time", truth.name)


def _order(what: str, name: str) -> Finding:
    return Finding(
        "order",
        f"{what} puts the sequences in the order of {name}: each value of it has a time of its own",
        "Split by time or by recording session, so that the network cannot learn the session "
        "instead, and leave times out of the features",
    )


def _names(values: Array, labels: Array) -> bool:
    """Whether each label has one value of its own."""
    if np.isnan(values).any():
        return False
    pairs = {(value, str(label)) for value, label in zip(values.tolist(), labels, strict=True)}
    count = len(np.unique(labels))
    return len(pairs) == count == len(np.unique(values)) and count <= len(labels) // 2


def _equals(values: Array, numbers: Array) -> bool:
    """Whether values are a linear function of numbers."""
    return numbers.dtype.kind in "fiu" and _unexplained(values, numbers) <= UNEXPLAINED


def _unexplained(values: Array, numbers: Array) -> float:
    """The share of the variance of `numbers` that `values` leave, 1 - r²; 1 if there is none."""
    both = np.isfinite(values) & np.isfinite(numbers)
    if both.sum() < LEAST:
        return 1.0
    x, y = (_unit(one[both].astype(np.float64)) for one in (values, numbers))
    return 1.0 - float(x @ y) ** 2 if x.any() and y.any() else 1.0


def _unit(numbers: Array) -> Array:
    """The numbers less their mean, as a vector of length 1; zeros if they are equal."""
    apart = numbers - numbers.mean()
    most = np.abs(apart).max()
    if most > 0:
        apart = apart / most  # the squares of 1e99 and 1e-99 could not be summed
        apart = apart / np.linalg.norm(apart)
    return np.asarray(apart)


def _ordered(places: Array, labels: Array) -> bool:
    """Whether the labels come one after the other in the order of `places`."""
    names = np.unique(labels, return_inverse=True)[1]
    few = len(np.unique(names)) <= len(names) // 4  # of more, runs are a matter of chance
    if not few or len(np.unique(places)) < len(places):
        return False
    changes = int((np.diff(names[np.argsort(places, kind="stable")]) != 0).sum())
    return changes == len(np.unique(names)) - 1


def _copies_of_target(train: Sequences, truth: Truth) -> Iterator[Finding]:
    """The columns that equal the target of the same step or of a later one."""
    k = int(train.lengths.argmax())
    most = min(len(train[k]), STEPS)
    ends = np.cumsum(train.lengths)
    target = truth.values[ends[k] - len(train[k]) :][:most].astype(np.float64)
    own = {
        ahead: _unexplained(target[: most - ahead], target[ahead:])
        for ahead in range(1, min(truth.ahead, most - LEAST) + 1)
    }
    for name in truth.features:
        values = train[k][:most, train.columns.index(name)].astype(np.float64)
        if name in truth.early and _unexplained(values, target) <= UNEXPLAINED:
            yield _target(name, f"equals {truth.name} of the same step", truth.name)
            continue
        for ahead, least in own.items():
            left = _unexplained(values[: most - ahead], target[ahead:])
            if left <= UNEXPLAINED and 10 * left < least:
                what = f"equals {truth.name} {ahead} step{'s' * (ahead > 1)} later"
                yield _target(name, what, truth.name)
                break


def _target(name: str, what: str, target: str) -> Finding:
    return Finding(
        "target",
        f"column '{name}' {what}, up to scale, in the training part",
        f"Leave it out of the features, unless it is really known before {target} is",
    )


def _are(pairs: list[Any]) -> str:
    return "are" if len(pairs) > 1 else "is"


def _listed(places: list[str]) -> str:
    more = len(places) - LISTED
    return ", ".join(places[:LISTED]) + (f" and {more:,} more" if more > 0 else "")

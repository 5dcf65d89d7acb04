"""Apply the settings for repeated times, gaps and missing values to sequences."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from gatewise.data import grids, spacing
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError, FlawError, GatewiseError, Way
from gatewise.readers.columns import Purpose
from gatewise.readers.long import Origin, as_missing
from gatewise.readers.mistakes import is_half_day, misplaced, spellings
from gatewise.readers.remedies import option
from gatewise.readers.times import zone_of_changes, zone_without_gaps
from gatewise.settings import DataSettings

LARGEST, SMALLEST = 1e100, 1e-100  # the squares of other numbers overflow or underflow in sums
COARSE = 2.0**50  # from here on, float64 rounds to a quarter or more
AS_THEY_ARE = Way({"gaps": "ignore"}, "uses the rows as they are")
ZEROS = Way({"missing": "zero"}, "puts 0 there")
FILL_LIMIT = 50  # if filling adds more than this many steps per step, a time must be wrong


def apply(
    sequences: Sequences,
    origin: Origin,
    settings: DataSettings,
    *,
    purpose: Purpose,
    left_empty: tuple[str, ...] = (),
) -> tuple[Sequences, list[str]]:
    """Repair the sequences, so that steps are unique and no cell is empty; also returns notes.

    Targets after the last known one stay empty, because they lie in the future. Training leaves
    such rows out; without data.known, they are an error or filled like other empty cells. Empty
    cells of the columns `left_empty` stay empty.

    Raises:
        FlawError: the data need a repair for which the policy is "error".
        DataError: the data cannot be repaired.
    """
    notes: list[str] = []
    if purpose == "train" and len(sequences) > 1 and settings.missing != "zero":
        sequences, origin = _without_empty(sequences, origin, notes, left_empty=left_empty)
    _refuse_infinite(sequences, origin, settings)
    _refuse_extreme(sequences, origin, purpose)
    _refuse_extreme_static(sequences, origin, settings)
    if purpose == "train":

        def repaired(changed: Sequences, policies: DataSettings) -> None:
            # "evaluate" has no notes about sentinels, and treats values as training does.
            apply(changed, origin, policies, purpose="evaluate", left_empty=left_empty)

        notes += _sentinels(sequences, settings, repaired)
    else:
        notes += [
            f"{line}; if it stands for a missing value, leave these cells empty"
            for _, _, line in _far(sequences)
        ]
    if sequences.times is not None:
        sequences, origin = _without_doubles(sequences, sequences.times, origin, settings, notes)
    if settings.missing == "drop-leading":
        sequences, origin = _without_leading(sequences, origin, notes)
    ends = _ends(sequences, settings, origin, purpose)
    if settings.missing == "error":
        _refuse_missing(sequences, ends, settings, origin, left_empty=left_empty)
    if sequences.times is not None:
        sequences, origin = _without_gaps(sequences, sequences.times, origin, settings, notes)
        ends = _ends(sequences, settings, origin, purpose)
    repeats = settings.missing in ("error", "drop-leading")
    policies = replace(settings, missing="previous") if repeats else settings
    sequences = _filled(sequences, ends, policies, origin, notes=notes, left_empty=left_empty)
    if purpose == "train" and (left := int((sequences.stops - ends).sum())):
        notes.append(
            f"{_amount(left, 'row')} after the last value of {settings.target[0]!r} "
            f"{'is' if left == 1 else 'are'} left out of training"
        )
        sequences = sequences.between(sequences.starts, ends)
    return sequences, notes


def _sequence_of(sequences: Sequences, step: int) -> int:
    return int(np.searchsorted(sequences.starts, step, side="right")) - 1


def _place(sequences: Sequences, origin: Origin, step: int) -> str:
    """The row of a step, with its sequence if there are several."""
    if len(sequences) == 1:
        return origin.place(step)
    return f"{origin.place(step)}, sequence {str(sequences.ids[_sequence_of(sequences, step)])!r}"


def _floats(sequences: Sequences, left_out: tuple[str, ...] = ()) -> list[tuple[int, str]]:
    """The columns whose cells can be empty or infinite: numbers, not texts."""
    if sequences.values.dtype.kind != "f":
        return []
    others = {*sequences.levels, *left_out}
    return [(j, name) for j, name in enumerate(sequences.columns) if name not in others]


def _refuse_infinite(sequences: Sequences, origin: Origin, settings: DataSettings) -> None:
    for column, name in _floats(sequences):
        wrong = np.isinf(sequences.values[:, column])
        if wrong.any():
            where = _place(sequences, origin, int(wrong.argmax()))
            count = int(wrong.sum())
            cells = (
                "an infinite value in" if count == 1 else f"{count} infinite values, the first in"
            )
            raise FlawError(
                f"{origin.name}: column {name!r} has {cells} {where}.",
                advice="Replace it with a number",
                ways=as_missing(["inf", "-inf"], settings),
            )


def _refuse_extreme(sequences: Sequences, origin: Origin, purpose: Purpose) -> None:
    """Refuse numbers whose squares overflow, and training columns whose squares underflow."""
    for column, name in _floats(sequences):
        cells = sequences.values[:, column]
        most = float(max(np.fmax.reduce(cells), -np.fmin.reduce(cells)))
        small = purpose == "train" and 0 < most < SMALLEST
        if most > LARGEST or small:
            verb, size = ("Multiply", "small") if small else ("Divide", "large")
            raise DataError(
                f"{origin.name}: column {name!r} holds numbers as large as {most:.0e}, which are "
                f"too {size} to square. {verb} the column by a power of ten first."
            )
        if purpose == "train" and is_blurred(cells):
            raise DataError(
                f"{origin.name}: column {name!r} holds numbers near {most:.1e} whose differences "
                "float64 rounds away. Subtract a constant from the column first."
            )


def _refuse_extreme_static(sequences: Sequences, origin: Origin, settings: DataSettings) -> None:
    """Refuse static numbers that are infinite, or whose squares overflow."""
    for name in settings.static:
        cells = sequences.static[name]
        if cells.dtype.kind != "f":
            continue
        wrong = np.flatnonzero(np.abs(cells) > LARGEST)
        if len(wrong):
            raise DataError(
                f"{origin.name}: the static column {name!r} holds {cells[wrong[0]]:g} for sequence "
                f"{str(sequences.ids[wrong[0]])!r}, which is too large to square. Correct it, or "
                "divide the column by a power of ten first."
            )


def is_blurred(cells: Array) -> bool:
    """True if large numbers differ, but by less than a thousand steps of float64."""
    least, most = float(np.fmin.reduce(cells)), float(np.fmax.reduce(cells))
    size = max(abs(least), abs(most))
    return size >= COARSE and 0 < most - least < 1000 * float(np.spacing(size))


def _without_doubles(
    sequences: Sequences, times: Array, origin: Origin, settings: DataSettings, notes: list[str]
) -> tuple[Sequences, Origin]:
    """Merge steps with the same time."""
    blocks = grids.differences(grids.as_numbers(times), sequences.starts)
    doubled = np.concatenate([[0], *(at[ahead == 0] for at, ahead in blocks)])[1:].astype(int) + 1
    if len(doubled) == 0:
        return sequences, origin
    _refuse_mistyped(sequences, times, origin, settings)
    if settings.duplicates == "error":
        _refuse_half_days(times, doubled, origin)
        raise _doubled(sequences, times, doubled, origin)
    notes.append(
        f"{len(doubled)} rows repeat a time; the {settings.duplicates} of such rows is used"
    )
    keep = np.ones(len(times), dtype=bool)
    keep[doubled] = False
    begins = np.flatnonzero(keep)
    taken = begins
    if settings.duplicates == "last":
        taken = np.append(begins[1:], len(keep)) - 1
    values = sequences.values[taken]
    if settings.duplicates in ("mean", "sum"):
        for column, _ in _floats(sequences):
            values[:, column] = _merged(sequences.values[:, column], begins, settings.duplicates)
    kept, origin = _kept(sequences, keep, origin, rows=taken)
    return replace(kept, values=values), origin


def _doubled(sequences: Sequences, times: Array, doubled: Array, origin: Origin) -> FlawError:
    """The error for repeated times, with remedies that keep what the rows say."""
    rows = "1 row repeats" if len(doubled) == 1 else f"{len(doubled)} rows repeat"
    where = _place(sequences, origin, int(doubled[0]))
    begin = f"{origin.name}: {rows} a time; the first is {_shown(times[doubled[0]])} in {where}."
    dated = times.dtype.kind == "M"
    if dated and not sequences.zone:
        ids = np.repeat(np.arange(len(sequences)), sequences.lengths)
        if zone := zone_of_changes(times.view(np.int64), ids):
            return FlawError(
                f"{begin} The clock was set back there, as in {zone}: local times occur twice.",
                advice="Write the times with their offsets from UTC",
                ways=[Way({"timezone": zone})],
            )
    apart = [Way({"id": names}) for names in origin.apart(len(doubled) / len(times))]
    remark = f"leaves {len(times) - len(doubled)} of {len(times)} rows"
    if 2 * len(doubled) > len(times) and _alike(times):
        midnight = dated and bool((times == times.astype("M8[D]")).all())
        missing = " or the time of day (data.time may name several columns)" if midnight else ""
        return FlawError(
            f"{begin} Most rows do, so a column is missing that distinguishes series{missing}.",
            advice=f"Name it in data.id{' or data.time' if midnight else ''}",
            ways=apart,
        )
    # Rows of which most repeat a time are events, of which one alone says little.
    able = ("sum", "mean") if 2 * len(doubled) > len(times) else ("first", "last", "mean", "sum")
    policies = [
        Way({"duplicates": able[0]}, remark),
        *(Way({"duplicates": one}) for one in able[1:]),
    ]
    return FlawError(
        begin,
        advice="Name the column that distinguishes series in data.id",
        ways=[*apart, *policies],
    )


def _refuse_half_days(times: Array, doubled: Array, origin: Origin) -> None:
    """Refuse times that repeat because a clock of 12 hours lost its AM and PM."""
    if 4 * len(doubled) > len(times) and times.dtype.kind == "M" and is_half_day(times):
        raise DataError(
            f"{origin.name}: {len(doubled)} rows repeat a time, and all hours are 1 to 12, as on a "
            "clock of 12 hours without AM and PM. Write the times with AM and PM, or with hours "
            "from 0 to 23."
        )


def _alike(times: Array) -> bool:
    """True if all times occur equally often, as with a missing id; events of a day do not."""
    _, counts = np.unique(times, return_counts=True)
    return float(np.mean(counts == np.median(counts))) > 0.8


def _without_leading(
    sequences: Sequences, origin: Origin, notes: list[str]
) -> tuple[Sequences, Origin]:
    """Leave out the steps of each sequence before each of its columns has a value."""
    keep = np.ones(len(sequences.values), dtype=bool)
    for column, _ in _floats(sequences):
        before, _after = _neighbours(np.isnan(sequences.values[:, column]), sequences)
        keep &= before >= 0
    left = int((~keep).sum())
    if not left:
        return sequences, origin
    lengths = np.add.reduceat(keep.astype(np.int64), sequences.starts)
    if not lengths.all():
        sequence = str(sequences.ids[int(lengths.argmin())])
        raise FlawError(
            f"{origin.name}: sequence {sequence!r} has a column without any value.",
            advice="Leave the column or the sequence out",
            ways=[ZEROS],
        )
    verb = "is" if left == 1 else "are"
    notes.append(f"{_amount(left, 'step')} before the first value {verb} left out (data.missing)")
    kept, origin = _kept(sequences, keep, origin, rows=np.flatnonzero(keep))
    return replace(kept, values=sequences.values[keep]), origin


def _without_empty(
    sequences: Sequences, origin: Origin, notes: list[str], *, left_empty: tuple[str, ...]
) -> tuple[Sequences, Origin]:
    """Leave out the sequences of which a column has no value, if they are the smaller part."""
    kept = np.ones(len(sequences), dtype=bool)
    lacking: dict[str, None] = {}
    for column, name in _floats(sequences, left_empty):
        known = np.logical_or.reduceat(~np.isnan(sequences.values[:, column]), sequences.starts)
        if not known.all():
            lacking[name] = None
            kept &= known
    left = np.flatnonzero(~kept)
    if not len(left) or 2 * len(left) >= len(sequences):
        return sequences, origin
    shown = ", ".join(repr(str(sequences.ids[k])) for k in left[:3])
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    notes.append(
        f"{len(left)} of {len(sequences)} sequences {'has' if len(left) == 1 else 'have'} no value "
        f"of {' or '.join(map(repr, lacking))} and {'is' if len(left) == 1 else 'are'} left out of "
        f"training: {shown}{more}"
    )
    rows = np.repeat(kept, sequences.lengths)
    found, origin = _kept(sequences, rows, origin, rows=np.flatnonzero(rows))
    found = replace(found, values=sequences.values[rows])
    return found.chosen(np.flatnonzero(kept)), origin


def _kept(
    sequences: Sequences, keep: Array, origin: Origin, *, rows: Array
) -> tuple[Sequences, Origin]:
    """The bounds and times of the steps to keep; the caller replaces the values."""
    before = np.concatenate([[0], np.cumsum(keep)])
    starts, stops = before[sequences.starts], before[sequences.stops]
    times = None if sequences.times is None else sequences.times[keep]
    kept = replace(sequences, times=times, starts=starts, stops=stops, first=starts)
    return kept, replace(origin, rows=rows if origin.rows is None else origin.rows[rows])


VARIED = 5  # values that differ this often are measured, not levels such as 0 and 1
NINES = re.compile(r"-?9{2,}(?:\.0|\.9+)?|-?(?:1e\+\d\d|9\.9+e\+\d\d)|-?32768\.0|-1\.0")


def _sentinels(
    sequences: Sequences,
    settings: DataSettings,
    repaired: Callable[[Sequences, DataSettings], None],
) -> list[str]:
    """A note on each number such as -9999 that stands far outside all others.

    It names the settings that read them as missing, if `repaired` accepts the sequences then.
    """
    found = list(_far(sequences))
    if not found:
        return []
    numbers = sorted({number for _, number, _ in found})
    lines = [line for _, _, line in found]
    usual = {(name, number) for name, number, _ in found}
    columns = dict((name, column) for column, name in _floats(sequences))
    for number in numbers:
        others = {
            name: int((sequences.values[:, column] == number).sum())
            for name, column in columns.items()
            if (name, number) not in usual
        }
        lines += [
            f"{_amount(count, 'cell')} of column {name!r} also {'holds' if count == 1 else 'hold'} "
            f"{number:g}"
            for name, count in others.items()
            if count
        ]
    values = sequences.values.copy()
    for column in columns.values():
        values[np.isin(values[:, column], numbers), column] = np.nan
    for way in as_missing([f"{number:g}" for number in numbers], settings):
        policies = replace(settings, missing=way.changes["missing"])
        try:
            repaired(replace(sequences, values=values.copy()), policies)
        except GatewiseError:
            continue
        words = " ".join(option(name, value) for name, value in way.changes.items())
        return [f"{'; '.join(lines)}; if it stands for a missing value: {words}"]
    return ["; ".join(lines)]


def _far(sequences: Sequences) -> Iterator[tuple[str, float, str]]:
    """The column, the number and a sentence for each number that may mean a missing value."""
    for column, name in _floats(sequences):
        cells = sequences.values[:, column]
        known = cells[np.isfinite(cells)]
        for extreme in {float(known.min()), float(known.max())} if len(known) > 20 else ():
            others = known[known != extreme]
            count = len(known) - len(others)
            if not len(others):
                continue
            usual = NINES.fullmatch(repr(extreme)) is not None
            alone = usual and extreme < -1 and others.min() >= 0  # the only negative number
            if count < 2 and not alone:
                continue
            if not usual and (not extreme.is_integer() or len(np.unique(others)) < VARIED):
                continue
            low, high = float(others.min()), float(others.max())
            distance = min(abs(extreme - low), abs(extreme - high))
            if distance > (1 if alone else 3 if usual else 10) * max(high - low, 1e-9):
                yield (
                    name,
                    extreme,
                    f"column {name!r} holds {extreme:g} in {_amount(count, 'row')}, far outside "
                    f"all other values ({low:g} to {high:g})",
                )


def _merged(cells: Array, begins: Array, how: str) -> Array:
    """Sum or mean of the cells between consecutive begins; empty cells do not count."""
    known = ~np.isnan(cells)
    sums = np.add.reduceat(np.where(known, cells, 0), begins)
    counts = np.add.reduceat(known.astype(float), begins)
    sums[counts == 0] = np.nan
    return sums if how == "sum" else sums / np.maximum(counts, 1)


def _ends(sequences: Sequences, settings: DataSettings, origin: Origin, purpose: Purpose) -> Array:
    """The end of the past of each sequence; the targets of later steps are empty.

    In training without data.known, empty targets at the end count as missing values.
    """
    targets = [k for k, name in enumerate(sequences.columns) if name in settings.target]
    if not targets or (purpose == "train" and not settings.known):
        return sequences.stops
    observed = ~np.isnan(sequences.values[:, targets]).all(axis=1)
    steps = np.where(observed, np.arange(1, len(sequences.values) + 1), 0)
    ends = np.maximum.reduceat(steps, sequences.starts)
    empty = ends <= sequences.starts
    if purpose == "predict" and not empty.all():
        return np.maximum(ends, sequences.starts)  # such a sequence alone cannot be answered
    if empty.any():
        sequence = str(sequences.ids[int(empty.argmax())])
        raise DataError(
            f"{origin.name}: sequence {sequence!r} has no value of {settings.target[0]!r}. "
            "Fill in its past, or remove the sequence."
        )
    return ends


def _empty(sequences: Sequences, ends: Array, settings: DataSettings, column: int) -> Array:
    """True for the empty cells of a column, except targets in the future."""
    empty = np.isnan(sequences.values[:, column])
    if ends is not sequences.stops and sequences.columns[column] not in settings.known:
        for end, stop in zip(ends, sequences.stops, strict=True):
            empty[end:stop] = False
    return empty


def _refuse_missing(
    sequences: Sequences,
    ends: Array,
    settings: DataSettings,
    origin: Origin,
    *,
    left_empty: tuple[str, ...],
) -> None:
    """Refuse empty cells, and name the settings that fill all of them."""
    listed: list[str] = []
    able = ["previous", "linear"]
    for column, name in _floats(sequences, left_empty):
        empty = _empty(sequences, ends, settings, column)
        if not empty.any():
            continue
        count = int(empty.sum())
        where = _place(sequences, origin, int(empty.argmax()))
        cells = "1 empty cell, in" if count == 1 else f"{count} empty cells, the first in"
        listed.append(f"column {name!r} has {cells} {where}")
        before, after = _neighbours(np.isnan(sequences.values[:, column]), sequences)
        able = [
            policy
            for policy in able
            if not (empty & (before < 0)).any()
            and (policy == "previous" or not (empty & (after < 0)).any())
        ]
    if not listed:
        return
    more = f"; {len(listed) - 3} more columns have empty cells" if len(listed) > 3 else ""
    ways = [Way({"missing": policy}) for policy in able or ["drop-leading"]]
    raise FlawError(
        f"{origin.name}: {'; '.join(listed[:3])}{more}. An LSTM cannot read empty cells (NaN).",
        advice="Fill them",
        ways=ways,
    )


def _without_gaps(
    sequences: Sequences, times: Array, origin: Origin, settings: DataSettings, notes: list[str]
) -> tuple[Sequences, Origin]:
    """Put the sequences on one regular grid of times; unchanged if gaps are ignored."""
    # One missing weekend is filled like any gap. Where a gap is an error, it tells weekdays.
    weekends = 1 if settings.gaps == "error" else 2
    grid = grids.grid(times, sequences.starts, weekends=weekends)
    if grid is None:
        return sequences, origin
    if grid.jitter:
        notes.append(
            f"times jitter: {grid.jittering:,} of {len(times) - len(sequences):,} differences are "
            f"off whole steps of {spacing.step_text(grid.step)}, by {grids.at_most(grid.jitter)} "
            "at most, and count as whole steps"
        )
    gaps, steps, off = _gaps(grid, sequences)
    if not gaps and off is None:
        return replace(sequences, step=grid.step), origin
    _refuse_mistyped(sequences, times, origin, settings)
    _refuse_spellings(sequences, times, origin, settings)
    # With gaps=fill, a series may consist of gaps; but times off the grid cannot be filled.
    check_others = len(sequences) > 1 and (settings.gaps != "fill" or off is not None)
    if others := spacing.others(sequences, grid) if check_others else {}:
        reason = _other_spacings(sequences, grid, others)
        if settings.gaps != "ignore":
            raise FlawError(
                f"{origin.name}: {reason}.",
                advice="Resample all sequences to one spacing, train a run for each spacing",
                ways=[AS_THEY_ARE],
            )
        notes.append(f"{reason}; the spacing is ignored")
        return replace(sequences, step=""), origin
    if settings.gaps == "ignore":
        notes.append(f"{_irregularity(grid, gaps, off)}, which is ignored")
        regular = grid.share >= 0.5
        return replace(sequences, step=grid.step if regular else ""), origin
    if off is not None:
        raise FlawError(
            f"{origin.name}: {_irregularity(grid, gaps, off)}; the first step that differs is "
            f"between {_between(times, sequences, origin, off)}.",
            advice="Resample the file to regular times",
            ways=[AS_THEY_ARE],
        )
    if settings.gaps == "error":
        ids = np.repeat(np.arange(len(sequences)), sequences.lengths)
        local = times.dtype.kind == "M" and not sequences.zone
        if local and (zone := zone_without_gaps(times.view(np.int64), ids)):
            raise FlawError(
                f"{origin.name}: {_irregularity(grid, gaps, off)}, the first between "
                f"{_between(times, sequences, origin, gaps[0])}. If these are local times, the "
                f"clock was set forward there, as in {zone}.",
                advice="Write the times with their offsets from UTC, or add the steps",
                ways=[
                    Way({"timezone": zone}),
                    Way({"gaps": "fill"}, f"inserts {_amount(steps, 'step')}"),
                ],
            )
        raise FlawError(
            f"{origin.name}: {_irregularity(grid, gaps, off)}, the first between "
            f"{_between(times, sequences, origin, gaps[0])}, where {_amount(gaps[1], 'step')} "
            f"{'is' if gaps[1] == 1 else 'are'} missing.",
            advice="Add them to the file",
            ways=[Way({"gaps": "fill"}, f"inserts {_amount(steps, 'step')}"), AS_THEY_ARE],
        )
    return _inserted(sequences, times, grid, origin, notes, steps=steps)


def _refuse_mistyped(
    sequences: Sequences, times: Array, origin: Origin, settings: DataSettings
) -> None:
    """Refuse single times that do not fit between those of the rows above and below."""
    if origin.rows is None or settings.gaps == "ignore":  # in order, or wanted so
        return
    ids = np.repeat(np.arange(len(sequences)), sequences.lengths)
    steps, above, below = misplaced(grids.as_numbers(times), ids, origin.rows)
    if not len(steps):
        return
    count = (
        "1 row has a time that does" if len(steps) == 1 else f"{len(steps)} rows have times that do"
    )
    own, before, after = (_shown(times[found[0]]) for found in (steps, above, below))
    raise DataError(
        f"{origin.name}: {count} not fit between those of the rows above and below. The first is "
        f"{own}, between {before} and {after}, in {_place(sequences, origin, int(steps[0]))}. "
        "Correct it."
    )


def _refuse_spellings(
    sequences: Sequences, times: Array, origin: Origin, settings: DataSettings
) -> None:
    """Refuse sequences with gaps whose ids differ in case or spaces alone."""
    if settings.gaps != "error" or len(sequences) < 2:
        return
    bounds = zip(sequences.starts, sequences.stops, strict=True)
    found = spellings(sequences.ids, [times[start:stop] for start, stop in bounds])
    if found:
        listed = ", ".join(map(repr, found[:4])) + (" ..." if len(found) > 4 else "")
        raise FlawError(
            f"{origin.name}: steps are missing in sequences whose ids differ in case or spaces "
            f"alone ({listed}), and no time repeats among them, so they seem to be one.",
            advice="Write such ids alike",
            ways=[AS_THEY_ARE],
        )


def _other_spacings(sequences: Sequences, grid: grids.Grid, others: dict[int, str]) -> str:
    first = min(others)
    more = f", and {len(others) - 1} more also differ" if len(others) > 1 else ""
    return (
        f"most steps are {spacing.step_text(grid.step)} apart, but those of sequence "
        f"{str(sequences.ids[first])!r} are {spacing.step_text(others[first])} apart{more}"
    )


Gap = tuple[int, ...]  # (the step before the first gap, its missing steps, number of gaps), or ()


def _gaps(grid: grids.Grid, sequences: Sequences) -> tuple[Gap, int, int | None]:
    """The gaps, the total number of missing steps, and the first step that is off the grid."""
    first: tuple[int, int] | None = None
    count = steps = 0
    off = None
    for at, ahead in grids.differences(grid.positions, sequences.starts):
        wrong = np.flatnonzero(ahead != grid.unit)
        if len(wrong) == 0:
            continue
        # Two times of one business day are 0 apart.
        is_wide = (ahead[wrong] % grid.unit == 0) & (ahead[wrong] > 0)
        odd, wide = wrong[~is_wide], wrong[is_wide]
        off = int(at[odd[0]]) if off is None and len(odd) else off
        missing = ahead[wide] // grid.unit - 1
        count, steps = count + len(wide), steps + int(missing.sum())
        if first is None and len(wide):
            first = int(at[wide[0]]), int(missing[0])
    return ((*first, count) if first else ()), steps, off


def _irregularity(grid: grids.Grid, gaps: Gap, off: int | None) -> str:
    step = spacing.step_text(grid.step)
    if off is not None:
        if grid.share < 0.5:
            return "times are irregular: no spacing is that of half of the steps"
        return f"times are irregular: {grid.share:.0%} of the steps are {step} apart"
    return f"steps are {step} apart, with {_amount(gaps[2], 'gap')}"


def _amount(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _between(times: Array, sequences: Sequences, origin: Origin, step: int) -> str:
    begin, end = (_shown(times[k]) for k in (step, step + 1))
    return f"{begin} and {end}, {_place(sequences, origin, step + 1)}"


def _shown(time: Array) -> str:
    text = str(time)
    return text.removesuffix(".000000").removesuffix("T00:00:00").replace("T", " ")


def _inserted(
    sequences: Sequences,
    times: Array,
    grid: grids.Grid,
    origin: Origin,
    notes: list[str],
    *,
    steps: int,
) -> tuple[Sequences, Origin]:
    """Insert all missing steps, with empty cells."""
    height = len(times)
    if steps > FILL_LIMIT * height:
        raise FlawError(
            f"{origin.name}: filling the gaps would turn {height} steps into {steps + height}.",
            advice="Look for a wrong time",
            ways=[AS_THEY_ARE],
        )
    every, where = grids.spread(grid, times, sequences.starts, sequences.stops)
    values = np.full((len(every), sequences.values.shape[1]), np.nan)
    values[where] = sequences.values
    for name in sequences.levels:
        column = sequences.columns.index(name)
        values[:, column] = _carried_levels(sequences.values[:, column], where, len(every))
    rows = np.full(len(every), -1)
    rows[where] = np.arange(height) if origin.rows is None else origin.rows
    starts = where[sequences.starts]
    stops = where[sequences.stops - 1] + 1
    notes.append(f"{_amount(steps, 'missing step')} of {grid.step} inserted")
    filled = replace(
        sequences,
        values=values,
        times=every,
        starts=starts,
        stops=stops,
        first=starts,
        step=grid.step,
    )
    return filled, replace(origin, rows=rows)


def _carried_levels(cells: Array, where: Array, height: int) -> Array:
    """Copy the level of each step to the steps inserted after it, even if it is empty."""
    counts = np.diff(np.append(where, height))
    return np.repeat(cells, counts)


def _filled(
    sequences: Sequences,
    ends: Array,
    settings: DataSettings,
    origin: Origin,
    *,
    notes: list[str],
    left_empty: tuple[str, ...],
) -> Sequences:
    """Fill the empty cells of numbers; the array is changed in place."""
    total = 0
    filled = None
    for column, name in _floats(sequences, left_empty):
        empty = _empty(sequences, ends, settings, column)
        if not empty.any():
            continue
        total += int(empty.sum())
        filled = np.zeros(sequences.values.shape, dtype=bool) if filled is None else filled
        filled[:, column] = empty
        cells = sequences.values[:, column]
        if settings.missing == "zero":
            cells[empty] = 0.0
            continue
        before, after = _neighbours(np.isnan(cells), sequences)
        stuck = empty & (
            (before < 0) if settings.missing == "previous" else (before < 0) | (after < 0)
        )
        if stuck.any():
            raise _stuck(sequences, origin, name, int(stuck.argmax()), missing=settings.missing)
        at = np.flatnonzero(empty)
        left, right = before[at], after[at]
        if settings.missing == "previous":
            cells[at] = cells[left]
        else:
            share = (at - left) / (right - left)
            cells[at] = cells[left] + (cells[right] - cells[left]) * share
    if total:
        notes.append(f"{_amount(total, 'empty cell')} filled ({settings.missing})")
    return replace(sequences, filled=filled)


def _neighbours(empty: Array, sequences: Sequences) -> tuple[Array, Array]:
    """The nearest filled steps before and after each step in its sequence, -1 for none."""
    steps = np.arange(len(empty))
    before = np.maximum.accumulate(np.where(empty, -1, steps))
    before[before < np.repeat(sequences.starts, sequences.lengths)] = -1
    last = len(empty)
    after = np.minimum.accumulate(np.where(empty, last, steps)[::-1])[::-1].copy()
    after[after >= np.repeat(sequences.stops, sequences.lengths)] = -1
    return before, after


def _stuck(
    sequences: Sequences, origin: Origin, name: str, step: int, *, missing: str
) -> FlawError:
    sequence = _sequence_of(sequences, step)
    before = sequences.values[sequences.starts[sequence] : step + 1, sequences.columns.index(name)]
    end, side = ("begins", "before") if np.isnan(before).all() else ("ends", "after")
    others = ("previous", "drop-leading") if missing == "linear" else ("drop-leading",)
    return FlawError(
        f"{origin.name}: column {name!r} {end} with an empty cell in "
        f"{_place(sequences, origin, step)}, but data.missing={missing} needs a value {side} it.",
        advice="Fill it",
        ways=[Way({"missing": policy}, last=policy == "drop-leading") for policy in others],
    )

"""Format numbers and words for the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LISTED = 8  # names that a line shows


def floats(values: Iterable[Any]) -> Numbers:
    """The values as floats; None becomes NaN."""
    return np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)


def decimals(values: Iterable[Any]) -> int:
    """The decimals that show the typical value with four significant digits."""
    known = np.abs(floats(values))
    known = known[np.isfinite(known) & (known > 0)]
    if not known.size:
        return 3
    return int(np.clip(3 - math.floor(math.log10(float(np.median(known)))), 0, 6))


def number(value: Any, digits: int | None = None) -> str:
    """A number with separated thousands and a true minus; a dash if there is none.

    >>> number(-12345.678), number(0.5, 3), number(None)
    ('−12,346', '0.500', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    digits = decimals([value]) if digits is None else digits
    extreme = value != 0 and (abs(value) >= 1e9 or abs(value) < 0.5 * 10**-digits)
    text = f"{value:.3g}" if extreme else f"{value:,.{digits}f}"
    return text.replace("-", "−")


def percent(share: Any, digits: int = 0) -> str:
    """A share in percent; a dash if there is none."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def duration(seconds: Any) -> str:
    """Seconds in the usual units.

    >>> duration(0.42), duration(200), duration(3900)
    ('0.42 s', '3 min 20 s', '1 h 05 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


def size(size: float) -> str:
    """A number of bytes in the largest unit that leaves at least 1."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def count(number: int, word: str) -> str:
    """A number with its noun in the singular or plural."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def known(texts: Iterable[Any]) -> list[str]:
    """The values that are neither None nor empty, as texts."""
    return [str(text) for text in texts if text not in (None, "")]


def listed(names: Sequence[Any]) -> str:
    """Names in one line; of many names, the first ones and the number of the rest."""
    rest = len(names) - LISTED
    return ", ".join(map(str, names[:LISTED])) + (f" and {rest:,} more" if rest > 0 else "")


def plain(value: Any) -> str:
    """The value of a setting, as a person would write it."""
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) or "''" for one in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {plain(one)}" for key, one in value.items()) or "none"
    return {"True": "yes", "False": "no", "": "none"}.get(str(value), str(value))


def sentence(text: str) -> str:
    """The text with a capital letter at its beginning and one full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def union(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """All keys of the mappings, in order of first occurrence."""
    return list(dict.fromkeys(key for one in mappings for key in one))

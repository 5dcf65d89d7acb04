"""Try the settings that may help with a flaw, so that a message names only those that do.

A reader raises a `FlawError` with the settings that may help. `tried` reads the same source with
them, follows the further flaws that it finds, and makes one message of all.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from gatewise.errors import DataError, FlawError, GatewiseError, Way

MOST_READ = 16  # the source is read at most so many times to find out what helps
DEEPEST = 4  # flaws that are told together

Changes = dict[str, Any]  # settings of [data] and their new values
Attempt = Callable[[Changes], object]


def tried(first: FlawError, attempt: Attempt, *, flags: bool) -> DataError:
    """The error about a flaw and those that follow it, with the ways that read the source.

    Args:
        first: the flaw.
        attempt: reads the source with these changes of its settings.
        flags: name the settings as options of the command line.
    """
    first.__traceback__ = None  # it keeps the arrays of the attempt
    flaws, ways = _followed(first, {}, attempt, iter(range(MOST_READ)))
    if not ways:
        return DataError(f"{first.flaw} {first.advice}.")
    words = _either(ways, flags=flags)
    if len(flaws) > 1:
        return DataError(f"{_together(flaws)} Train with {words}.")
    return DataError(f"{first.flaw} {first.advice}, or train with {words}.")


def _followed(
    flaw: FlawError, before: Changes, attempt: Attempt, left: Iterator[int], depth: int = 1
) -> tuple[list[FlawError], list[Way]]:
    """The flaws up to the first ways that read the source, and these ways."""
    working, later = _attempted(flaw, before, attempt, left)
    if working:
        return [flaw], working
    for following, changes in later if depth < DEEPEST else ():
        flaws, working = _followed(following, changes, attempt, left, depth + 1)
        if working:
            return [flaw, *flaws], working
    return [flaw], []


def _attempted(
    flaw: FlawError, before: Changes, attempt: Attempt, left: Iterator[int]
) -> tuple[list[Way], list[tuple[FlawError, Changes]]]:
    """The ways that read the source, and the flaws that the others lead to."""
    working: list[Way] = []
    later: list[tuple[FlawError, Changes]] = []
    for way in flaw.ways:
        changes = {**before, **way.changes}
        if changes == before or (way.last and working) or next(left, None) is None:
            continue
        try:
            attempt(changes)
        except FlawError as following:
            following.__traceback__ = None
            later.append((following, changes))
        except GatewiseError:
            continue
        else:
            working.append(Way(changes, way.remark))
    return working, later


def _together(flaws: list[FlawError]) -> str:
    """The texts of several flaws; only the first of them names the source."""
    name = flaws[0].flaw.partition(": ")[0] + ": "
    rest = (one.flaw.removeprefix(name) for one in flaws[1:])
    return " ".join([flaws[0].flaw, *(text[:1].upper() + text[1:] for text in rest)])


def _either(ways: list[Way], *, flags: bool) -> str:
    listed = []
    for way in ways:
        words = " ".join(
            option(name, value) if flags else f"data.{name}={_text(value)}"
            for name, value in way.changes.items()
        )
        listed.append(f"{words} ({way.remark})" if way.remark else words)
    return " or ".join(listed)


def option(name: str, value: Any) -> str:
    r"""The option that gives a setting of [data] this value, quoted for a shell.

    >>> option("gaps", "fill"), option("missing_values", ["", "x"])
    ('--set data.gaps=fill', '--set \'data.missing_values=["", "x"]\'')
    """
    return f"--set {shlex.quote(f'data.{name}={_text(value)}')}"


def _text(value: Any) -> str:
    """A value as TOML; a text without quotes, which `--set` reads alike."""
    if isinstance(value, list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value)

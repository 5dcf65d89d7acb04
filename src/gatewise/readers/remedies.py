"""Try the settings that may help with a flaw, so that a message names only those that do.

A reader raises a `FlawError` with the settings that may help. `tried` reads the same source with
them, follows the further flaws that it finds, and makes one message of all.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gatewise.errors import DataError, FlawError, GatewiseError, Way

MOST_READ = 16  # the source is read at most this many times to find out what helps
DEEPEST = 4  # flaws that are told together

Changes = dict[str, Any]  # settings of [data] and their new values
Attempt = Callable[[Changes], object]


@dataclass(frozen=True)
class Followed:
    """Flaws that follow each other, each found with settings that mend those before it."""

    flaws: tuple[GatewiseError, ...]
    mended: Changes  # the settings that mend all flaws but the last
    ways: list[Way]  # those that read the source; empty if none does

    def after(self, flaw: GatewiseError) -> "Followed":
        """The same flaws, with one before them."""
        return replace(self, flaws=(flaw, *self.flaws))


def tried(first: FlawError, attempt: Attempt, *, flags: bool, deepest: int = DEEPEST) -> DataError:
    """The error about a flaw and those that follow it, with the ways that read the source.

    If no way reads the source, the last flaw is one that the user must mend, and the settings are
    those that mend the flaws before it.

    Args:
        first: the flaw.
        attempt: reads the source with these changes of its settings.
        flags: name the settings as options of the command line.
        deepest: at most this many flaws are told together.
    """
    first.__traceback__ = None  # it keeps the arrays of the attempt
    found = _followed(first, {}, attempt, iter(range(MOST_READ)), deepest)
    last, several = found.flaws[-1], len(found.flaws) > 1
    if found.ways:
        words = _either(found.ways, flags=flags)
        if several:
            return DataError(f"{_together(found.flaws)} Train with {words}.")
        return DataError(f"{first.flaw} {first.advice}, or train with {words}.")
    if not several:
        return DataError(f"{first.flaw} {first.advice}.")
    advice = f"{last.advice}. " if isinstance(last, FlawError) else ""
    words = _either([Way(found.mended)], flags=flags)
    return DataError(f"{_together(found.flaws)} {advice}Then train with {words}.")


def _followed(
    flaw: GatewiseError, before: Changes, attempt: Attempt, left: Iterator[int], depth: int
) -> Followed:
    """The flaws up to the first ways that read the source, else up to `depth` that follow."""
    longest = Followed((flaw,), before, [])
    if not isinstance(flaw, FlawError):
        return longest
    working, later = _attempted(flaw, before, attempt, left)
    if working:
        return replace(longest, ways=working)
    for following, changes in later if depth > 1 else ():
        found = _followed(following, changes, attempt, left, depth - 1).after(flaw)
        if found.ways:
            return found
        longest = max(longest, found, key=lambda each: len(each.flaws))
    return longest


def _attempted(
    flaw: FlawError, before: Changes, attempt: Attempt, left: Iterator[int]
) -> tuple[list[Way], list[tuple[GatewiseError, Changes]]]:
    """The ways that read the source, and the flaws that the others lead to."""
    working: list[Way] = []
    later: list[tuple[GatewiseError, Changes]] = []
    for way in flaw.ways:
        changes = {**before, **way.changes}
        if changes == before or (way.last and working) or next(left, None) is None:
            continue
        try:
            attempt(changes)
        except GatewiseError as following:
            following.__traceback__ = None
            if str(following) != str(flaw):  # else the settings changed nothing
                later.append((following, changes))
        else:
            working.append(Way(changes, way.remark))
    return working, later


def _together(flaws: Sequence[GatewiseError]) -> str:
    """The texts of several flaws; only the first of them names the source."""
    first, *rest = (one.flaw if isinstance(one, FlawError) else str(one) for one in flaws)
    name = first.partition(": ")[0]
    rest = [text.removeprefix(f"{name}: ") for text in rest]
    rest = [text if text.startswith(name) else text[:1].upper() + text[1:] for text in rest]
    return " ".join([first, *rest])


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

    >>> option("id", ["shop"]), option("missing_values", ["", "x"])
    ('--set data.id=shop', '--set \'data.missing_values=["", "x"]\'')
    """
    return f"--set {shlex.quote(f'data.{name}={_text(value)}')}"


def _text(value: Any) -> str:
    """A value as TOML; a text without quotes and a list of one, which `--set` reads alike."""
    if isinstance(value, list | tuple):
        if len(value) == 1 and re.fullmatch(r"[^\W\d]\w+", value[0]):
            return str(value[0])
        return json.dumps(value, ensure_ascii=False)
    return str(value)

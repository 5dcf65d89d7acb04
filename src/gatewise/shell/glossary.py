"""What each setting means: its default, its values, and the tasks that have it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gatewise.errors import ConfigError
from gatewise.settings import LIMITS, Experiment
from gatewise.tasks import TASKS
from gatewise.tasks.owned import EVERY_RUN, owners_of

WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True)
class Entry:
    """One setting, in words."""

    section: str
    key: str
    default: str  # as in JSON
    values: str
    owners: str  # the tasks that have it; "" if every run has it
    meaning: str

    @property
    def name(self) -> str:
        """The section and the key with a dot between them."""
        return f"{self.section}.{self.key}"


def entries() -> Iterator[Entry]:
    """Yield every setting, in the order of the dataclasses of settings.py."""
    for section in fields(Experiment):
        inner = getattr(Experiment(), section.name)
        for key, kind in get_type_hints(type(inner), include_extras=True).items():
            name, default = f"{section.name}.{key}", json.dumps(getattr(inner, key))
            meaning = str(kind.__metadata__[0])
            yield Entry(section.name, key, default, _values(kind, name), _owners(name), meaning)


def find(name: str) -> list[Entry]:
    """Return the settings of a section, or those that a key or section.key names.

    Raises:
        ConfigError: no setting has this name; the message says which are similar.
    """
    known = list(entries())
    found = [one for one in known if name in (one.section, one.key, one.name)]
    if not found:
        names = [text for one in known for text in (one.name, one.key, one.section)]
        near = get_close_matches(name, dict.fromkeys(names), n=3, cutoff=0.6)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"There is no setting '{name}'.{hint}")
    return found


def _owners(name: str) -> str:
    return "" if name in EVERY_RUN else ", ".join(dict.fromkeys(owners_of(name, TASKS)))


def _values(kind: Any, name: str) -> str:
    """The allowed values."""
    if name == "network.kind":
        return ", ".join(["`auto`", *(f"`{one}` ({', '.join(of)})" for one, of in kinds().items())])
    plain = get_args(kind)[0]
    if get_origin(plain) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(plain))
    if get_origin(plain) is tuple:
        inner = get_args(plain)[0]
        if get_origin(inner) is Literal:
            return "list of " + ", ".join(f"`{one}`" for one in get_args(inner))
        return f"list of {WORDS[inner]}s" if inner in WORDS else "list of lists of three texts"
    text = WORDS.get(plain, "table")
    least, most = LIMITS.get(name, (0, 0))
    if not most or most == float("inf"):
        return text
    return f"{text}, {least:.10g} to {most:.10g}"


def kinds() -> dict[str, list[str]]:
    """Return the networks that have a name, with the tasks that have them."""
    found: dict[str, list[str]] = {}
    for task in TASKS.values():
        for kind in filter(None, task.network.builders):
            found.setdefault(kind, []).append(task.name)
    return found

"""The exceptions of gatewise, as a tree.

GatewiseError        any error that the user can fix; it says what came, what was wanted, what to do
  DataError          a file, a table or an array is not what the task needs
    UnknownSourceError   its form is not one that was looked for
    FlawError            other settings may read it
  ConfigError        a setting is unknown, has the wrong type or contradicts another setting
  TrainingError      training cannot continue (the loss is not a number)
  ArtefactError      a run folder is damaged, incomplete or from a newer version
  EngineError        the native engine was requested and cannot run
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class GatewiseError(Exception):
    """Any error that the user can fix; the command line prints its text and exits with 1."""


class DataError(GatewiseError):
    """A file, a table or an array is not what the task needs."""


class UnknownSourceError(DataError):
    """A source is of no form that was looked for; another task may read it."""


@dataclass(frozen=True)
class Way:
    """Settings of [data] that may help with a flaw, and what they do."""

    changes: Mapping[str, Any]
    remark: str = ""
    last: bool = False  # tried only if no way before it helps


class FlawError(DataError):
    """A flaw of the data. The message goes on with what to do, and with settings that read them."""

    def __init__(self, flaw: str, *, advice: str, ways: Sequence[Way] = ()) -> None:
        """`flaw` is a sentence, and `advice` says what to do with the data themselves."""
        super().__init__(f"{flaw} {advice}.")
        self.flaw, self.advice, self.ways = flaw, advice, tuple(ways)


class OrderError(DataError):
    """The time of a row of a stream is not after that of the last one."""


class GapError(DataError):
    """Steps are missing before a row of a stream, so it can only begin another sequence."""


class ConfigError(GatewiseError):
    """A setting is unknown, has the wrong type or contradicts another setting."""


class TrainingError(GatewiseError):
    """Training cannot continue."""


class ArtefactError(GatewiseError):
    """A run folder is damaged, incomplete or from a newer version."""


class EngineError(GatewiseError):
    """The native engine was requested and cannot run."""

"""The exceptions of gatewise, as a tree.

GatewiseError        any error that the user can fix; it says what came, what was wanted, what to do
  DataError          a file, a table or an array is not what the task needs
    UnknownSourceError   its form is not one that was looked for
  ConfigError        a setting is unknown, has the wrong type or contradicts another setting
  TrainingError      training cannot continue (the loss is not a number)
  ArtefactError      a run folder is damaged, incomplete or from a newer version
  EngineError        the native engine was requested and cannot run
"""


class GatewiseError(Exception):
    """Any error that the user can fix; the command line prints its text and exits with 1."""


class DataError(GatewiseError):
    """A file, a table or an array is not what the task needs."""


class UnknownSourceError(DataError):
    """A source is of no form that was looked for; another task may read it."""


class ConfigError(GatewiseError):
    """A setting is unknown, has the wrong type or contradicts another setting."""


class TrainingError(GatewiseError):
    """Training cannot continue."""


class ArtefactError(GatewiseError):
    """A run folder is damaged, incomplete or from a newer version."""


class EngineError(GatewiseError):
    """The native engine was requested and cannot run."""

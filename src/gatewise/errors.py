"""What can go wrong, as a tree.

GatewiseError        anything the user can mend; says what came, what was wanted and what to do
  DataError          a file, a table or an array is not what the task needs
    UnknownSourceError   it is of no form that was looked for
  ConfigError        a setting is unknown, of the wrong type or at odds with another
  TrainingError      training cannot go on (a loss that is not a number)
  ArtefactError      a run folder is damaged, incomplete or from a newer version
  EngineError        the native engine is asked for and cannot run
"""


class GatewiseError(Exception):
    """Anything that the user can mend: the command line prints its text and exits with 1."""


class DataError(GatewiseError):
    """A file, a table or an array is not what the task needs."""


class UnknownSourceError(DataError):
    """A source is of no form that was looked for; another task may read it."""


class ConfigError(GatewiseError):
    """A setting is unknown, of the wrong type or at odds with another."""


class TrainingError(GatewiseError):
    """Training cannot go on."""


class ArtefactError(GatewiseError):
    """A run folder is damaged, incomplete or was written by a newer version."""


class EngineError(GatewiseError):
    """The native engine is asked for and cannot run."""

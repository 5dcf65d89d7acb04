"""Say what takes long, while it does: reading, baselines, compiling."""

import logging
import threading

log = logging.getLogger("gatewise.phases")

SILENCE = 2.0  # seconds without a word


class Phase:
    """One stretch of work: a DEBUG record when it begins, an INFO record after two seconds.

    >>> with Phase("Reading the data"):
    ...     pass
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._timer = threading.Timer(SILENCE, log.info, ["%s ...", name])
        self._timer.daemon = True
        log.debug("%s", name)
        self._timer.start()

    def end(self) -> None:
        """The work is done; a second call changes nothing."""
        self._timer.cancel()

    def __enter__(self) -> "Phase":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

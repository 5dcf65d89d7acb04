"""Log the phases that take long while they run: reading, baselines, compiling."""

import logging
import threading

log = logging.getLogger("gatewise.training.phases")

SILENCE = 2.0  # seconds before a phase is logged at INFO


class Phase:
    """A phase of the work: a DEBUG record when it begins, an INFO record after two seconds.

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
        """End the phase; a second call has no effect."""
        self._timer.cancel()

    def __enter__(self) -> "Phase":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

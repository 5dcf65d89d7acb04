"""Ctrl-C and SIGTERM during a run: training ends early, and the trained weights are kept.

The handler only counts requests, because a training step on JAX donates its buffers, and because a
print in a signal handler may interrupt another print. `training.fit` reads the count before each
step, and `checkpoint` reads it between the batches of a prediction. The weights are consistent at
both points.
"""

import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("gatewise")

STOP, SKIP, ABANDON = 1, 2, 3  # end training; also skip the evaluation; keep nothing
GRACE = 5.0  # seconds from a SIGTERM until the evaluation is skipped; docker kills after 10
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
MESSAGES = {
    STOP: "Stopping after this step; the trained model is evaluated and kept.",
    SKIP: "The trained model is kept without an evaluation; another Ctrl-C abandons the run.",
}


class Skipped(Exception):  # noqa: N818 - a request, not an error
    """A request to skip the evaluation; raised by `checkpoint`."""


class Interrupts:
    """The requests that signals make while the context lasts.

    Before `training` is set, a signal has its usual effect. Afterwards the first Ctrl-C ends
    training, the next one skips the evaluation, and one more raises KeyboardInterrupt. Once
    `trained` is set, the first one skips the evaluation. SIGTERM counts as the first Ctrl-C, and
    after `GRACE` seconds as the second one. Outside the main thread there are no requests, because
    only the main thread receives signals.

    Python discards an exception that a handler raises during a callback of the garbage collector.
    Therefore `check` raises it again.
    """

    def __init__(self) -> None:
        self.level = 0
        self.by = ""  # the source of the first request: Ctrl-C or SIGTERM
        self.training = self.trained = False
        self.messages = dict(MESSAGES)
        self._announced = 0
        self._before: dict[signal.Signals, Any] = {}
        self._timer: threading.Timer | None = None
        self._end: threading.Timer | None = None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            global _current
            self._outer, _current = _current, self
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for timer in (self._timer, self._end):
            if timer is not None:
                timer.cancel()
        if self._before:
            global _current
            _current = self._outer
            for number, before in self._before.items():
                signal.signal(number, before)
        if self.level >= ABANDON and kind is not None and issubclass(kind, Exception):
            raise KeyboardInterrupt from error  # an aborted step failed while it was unwound

    def _request(self, number: int, frame: FrameType | None) -> None:
        global received
        received = number
        self.by = self.by or SIGNALS[signal.Signals(number)]
        if not self.training:
            self._pass_on(number, frame)
            return
        least = SKIP if self.trained else STOP
        if number == signal.SIGTERM:
            self.level = max(self.level, least)
            if self._timer is None:
                self._timer = threading.Timer(GRACE, self._expire)
                self._timer.daemon = True
                self._timer.start()
            return
        self.level = max(self.level + 1, least)
        if self.level >= ABANDON:
            raise KeyboardInterrupt

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Call the handler of the surrounding code, which usually raises."""
        before, level = self._before[signal.Signals(number)], self.level
        if callable(before):
            self.level = ABANDON  # until it returns, because Python may discard its exception
            before(number, frame)
            self.level = level
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def stop_in(self, seconds: float, by: str) -> None:
        """Request to end training after this many seconds, on behalf of `by`."""
        self._end = threading.Timer(max(0.0, seconds), self.stop, [by])
        self._end.daemon = True
        self._end.start()

    def stop(self, by: str) -> None:
        """Request to end training, on behalf of `by`."""
        if self.level < STOP:
            self.by, self.level = by, STOP

    def _expire(self) -> None:
        self.level = max(self.level, SKIP)

    def check(self) -> None:
        """Raise KeyboardInterrupt when the whole run is to be abandoned."""
        if self.level >= ABANDON:
            raise KeyboardInterrupt

    def announce(self) -> None:
        """Log once what happens next; called only where it cannot interrupt another print."""
        if self._announced < self.level < ABANDON:
            self._announced = self.level
            log.info("%s", self.messages[self.level])


_current: Interrupts | None = None
received = 0  # the number of the last signal


def checkpoint() -> None:
    """Raise `Skipped` if a signal asked for it; called between batches, never within a step."""
    if _current is not None:
        _current.check()
        if _current.level >= SKIP:
            raise Skipped

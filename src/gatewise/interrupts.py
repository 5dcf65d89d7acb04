"""Ctrl-C and SIGTERM during a run: training ends early, and what was learned is kept.

A training step on JAX gives its buffers away, and a print in a signal handler may meet a print. So
the handler only counts requests. `training.fit` looks at the count before each step, and
`checkpoint` between the batches of a prediction; both are places where the weights are whole.
"""

import logging
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger("gatewise")

STOP, SKIP, ABANDON = 1, 2, 3  # end training; skip the evaluation too; keep nothing
GRACE = 5.0  # seconds from a SIGTERM until the evaluation is skipped; docker kills after 10
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
SAID = {
    STOP: "Stopping after this step; what was learned is evaluated and kept.",
    SKIP: "What was learned is kept without an evaluation; another Ctrl-C gives up.",
}


class Skipped(Exception):  # noqa: N818 - a request, not an error
    """The evaluation is to be skipped; raised by `checkpoint`."""


class Interrupts:
    """What was asked for by signals while the context lasts.

    Before `training` is set, a signal does what it did outside. Then the first Ctrl-C asks to end
    training, the next one to skip the evaluation, one more raises KeyboardInterrupt. Once `trained`
    is set, the first one skips the evaluation. SIGTERM is the first Ctrl-C, and after `GRACE`
    seconds the second one. Outside the main thread, which alone receives signals, nothing is ever
    asked for.

    Python discards what a handler raises during a callback of the garbage collector, so `check`
    raises it again.
    """

    def __init__(self) -> None:
        self.level = 0
        self.by = ""  # the first request: Ctrl-C or SIGTERM
        self.training = self.trained = False
        self._said = 0
        self._before: dict[signal.Signals, Any] = {}
        self._timer: threading.Timer | None = None

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
        if self._timer is not None:
            self._timer.cancel()
        if self._before:
            global _current
            _current = self._outer
            for number, before in self._before.items():
                signal.signal(number, before)
        if self.level >= ABANDON and kind is not None and issubclass(kind, Exception):
            raise KeyboardInterrupt from error  # a step that was broken off failed on its way out

    def _request(self, number: int, frame: FrameType | None) -> None:
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
        """Do what the handler outside does, which usually raises."""
        before, level = self._before[signal.Signals(number)], self.level
        if callable(before):
            self.level = ABANDON  # until it has returned: Python may discard what it raises
            before(number, frame)
            self.level = level
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _expire(self) -> None:
        self.level = max(self.level, SKIP)

    def check(self) -> None:
        """Raise KeyboardInterrupt when everything is to be given up."""
        if self.level >= ABANDON:
            raise KeyboardInterrupt

    def announce(self) -> None:
        """Say once what happens next; called where a print cannot meet another one."""
        if self._said < self.level < ABANDON:
            self._said = self.level
            log.info("%s", SAID[self.level])


_current: Interrupts | None = None


def checkpoint() -> None:
    """Raise `Skipped` when a signal asked for it; called between batches, never within a step."""
    if _current is not None:
        _current.check()
        if _current.level >= SKIP:
            raise Skipped

"""Sessions: sequences that are still going on, a stream of `gatewise.streaming` for each.

One thread advances the streams. Steps that wait at the same time, for different sessions, share the
batches of the network.
"""

import asyncio
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gatewise.errors import GatewiseError
from gatewise.serving.limits import Limits, Refusal
from gatewise.serving.models import Answer, Model, noted
from gatewise.streaming import Stream, advance

# The most of a message, because the other sessions wait for it: rows, characters, tokens, samples.
MOST = {"numbers": 1000, "text": 2000, "tokens": 1000, "sound": 160_000}
UNITS = {"numbers": "steps", "text": "characters", "tokens": "tokens", "sound": "samples"}
AHEAD = 10_000  # of these that were not steps, after which the size of a session is measured
MAX_STATE = 4_000_000  # bytes of a session

Key = tuple[str, Any]  # the name of a model, and the name that the client gave or a connection


@dataclass(eq=False)
class Session:
    """A sequence that is still going on."""

    key: Key
    stream: Stream
    used: float  # when a step came last, in seconds of a monotonic clock
    rows: int = 0  # that were pushed since the size was measured
    begun: int = 0  # the steps of the stream then


@dataclass(frozen=True)
class _Steps:
    """Rows that wait to be read."""

    session: Session
    rows: Any
    end: bool
    done: "Future[Answer]"


class Sessions:
    """The sessions of a server; its methods are for the thread of the event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._sessions: dict[Key, Session] = {}
        self._first: dict[str, Stream] = {}  # model -> the stream of which others are made
        self._waiting: deque[_Steps] = deque()
        self._thread = ThreadPoolExecutor(1, "gatewise-stream")

    def __len__(self) -> int:
        """The number of sessions that are open."""
        return len(self._sessions)

    def close(self) -> None:
        """Read what waits, and end the thread."""
        self._thread.shutdown()

    async def opened(self, model: Model, name: Any) -> Session:
        """A new session.

        Raises:
            Refusal: the name is taken, or there are too many sessions.
            ConfigError: the run cannot be streamed.
        """
        loop = asyncio.get_running_loop()
        stream = await loop.run_in_executor(self._thread, self._new, model)
        # Nothing waits from here on, so of two clients who start one id the second is refused.
        self._expire()
        key = (model.name, name)
        if key in self._sessions:
            raise Refusal(
                409,
                f"The sequence {name!r} is already open. End it, or choose another id, such as a "
                "random one.",
            )
        if len(self._sessions) >= self.limits.max_sessions:
            raise Refusal(503, "Too many sequences are open (--max-sessions). Try again later.")
        session = Session(key, stream, time.monotonic())
        self._sessions[key] = session
        return session

    def found(self, model: Model, name: Any) -> Session:
        """The session of this name.

        Raises:
            Refusal: there is none.
        """
        self._expire()
        session = self._sessions.get((model.name, name))
        if session is None:
            raise Refusal(
                404,
                f"There is no sequence {name!r}. It was not started, or no step came for "
                f"{self.limits.session_idle:g} s. Start it (sequence_start).",
            )
        return session

    def holds(self, session: Session) -> bool:
        """Whether a session is still open."""
        return self._sessions.get(session.key) is session

    def end(self, session: Session) -> None:
        """Forget a session; a second call has no effect."""
        self._sessions.pop(session.key, None)

    async def advanced(self, session: Session, rows: Any, *, end: bool = False) -> Answer:
        """The answers to more rows; with `end`, the last ones.

        Raises:
            DataError: a row has not what the run needs. None of the rows is added then.
            Refusal: there are too many rows.
        """
        kind = session.stream.kind
        if rows is not None and _amount(rows, kind) > MOST[kind]:
            raise Refusal(413, f"Send at most {MOST[kind]:,} {UNITS[kind]} at a time.")
        session.used = time.monotonic()
        done: Future[Answer] = Future()
        self._waiting.append(_Steps(session, rows, end, done))
        self._thread.submit(self._work)
        try:
            return await asyncio.wrap_future(done)
        except (GatewiseError, Refusal):
            raise
        except Exception:
            self.end(session)  # where its stream is, is unknown
            raise
        finally:
            session.used = time.monotonic()

    def _new(self, model: Model) -> Stream:
        if model.name not in self._first:
            self._first[model.name] = Stream(model.artefact)
        return self._first[model.name].new()

    def _expire(self) -> None:
        """Forget the sessions to which no step came for long; the first ones are the oldest."""
        now = time.monotonic()
        waiting = {id(one.session) for one in list(self._waiting)}
        for session in list(self._sessions.values()):
            idle = now - session.used > self.limits.session_idle
            if idle and id(session) not in waiting:
                self.end(session)

    def _work(self) -> None:
        """Read what waits: of each session the first rows, so that they stay in order."""
        taken: dict[Session, _Steps] = {}
        later = []
        for _ in range(len(self._waiting)):
            one = self._waiting.popleft()
            if one.session in taken:
                later.append(one)
            elif one.done.set_running_or_notify_cancel():
                taken[one.session] = one
        self._waiting.extendleft(reversed(later))
        pushed = []
        for one in taken.values():
            try:
                _push(one)
                pushed.append(one)
            except BaseException as error:
                one.done.set_exception(error)
        with suppress(Exception):  # `read` raises the error of a stream to its client alone
            advance([one.session.stream for one in pushed])
        for one in pushed:
            try:
                with noted() as notes:
                    stream = one.session.stream
                    answers = stream.finish() if one.end else stream.read()
                one.done.set_result(Answer(pl.DataFrame(answers), tuple(notes)))
            except BaseException as error:
                one.done.set_exception(error)


def _push(steps: _Steps) -> None:
    """Add rows to a stream, and keep those that are ahead of its steps from filling the memory."""
    session, rows = steps.session, steps.rows
    if rows is None:  # only the end
        return
    session.rows += _amount(rows, session.stream.kind)
    if session.rows - (session.stream.step - session.begun) > AHEAD:
        if len(session.stream.state()) > MAX_STATE:
            raise Refusal(
                413,
                "The sequence holds too much that is not a whole step yet: rows ahead without "
                "their values, or a text without white space. Send these first, or start another "
                "one.",
            )
        session.rows, session.begun = 0, session.stream.step
    session.stream.push(rows)


def _amount(rows: Any, kind: str) -> int:
    """How much a message holds, in the units of `MOST`."""
    if isinstance(rows, str):
        return len(rows.split()) if kind == "tokens" else len(rows)
    if isinstance(rows, bytes):
        return len(rows) // 2
    if kind == "numbers":
        return 1 if isinstance(rows, dict) else len(rows)
    if isinstance(rows, pl.DataFrame):
        rows = rows.rows(named=True)
    if isinstance(rows, dict):
        return sum(_amount(one, kind) for one in rows.values() if isinstance(one, str | list)) or 1
    if isinstance(rows, np.ndarray) or (kind == "sound" and not any(map(_nested, rows[:1]))):
        return len(rows)
    return sum(_amount(one, kind) if isinstance(one, str | dict | list) else 1 for one in rows)


def _nested(value: Any) -> bool:
    return isinstance(value, dict | list)

"""Micro-batches: requests that wait at the same time share a run of the network.

One thread reads requests, and another one runs the network, so that reading continues while the
kernels compute without Python's lock. Arrays are read by the latter, those of a batch as one. A
request that finds the network free waits at most `Limits.max_wait` for others; while the network is
busy, requests wait for it in any case.
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gatewise.serving.limits import Limits
from gatewise.serving.models import Answer, Model, Question


@dataclass(frozen=True)
class _Waiting:
    """A question that waits for the network."""

    model: Model
    question: Question
    finish: Callable[[Answer], Any]
    done: "asyncio.Future[Any]"
    since: float


class Batcher:
    """Reads requests and answers them in batches, until it is closed."""

    def __init__(self, limits: Limits, on_batch: Callable[[Model, int], None]) -> None:
        self.limits = limits
        self._on_batch = on_batch
        self._readers = ThreadPoolExecutor(1, "gatewise-read")
        self._waiting: deque[_Waiting] = deque()
        self._sizes: Counter[str] = Counter()  # sequences that wait, by model
        self._changed = threading.Condition()
        self._hurried = self._closed = False
        self._thread = threading.Thread(target=self._work, name="gatewise-answer", daemon=True)
        self._thread.start()

    async def answer(
        self,
        model: Model,
        read: Callable[[], Question],
        finish: Callable[[Answer], Any],
        *,
        question: Question | None = None,
    ) -> Any:
        """What `finish` makes of the answer to the question, or to the one that `read` returns.

        Both functions run in threads of the batcher.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if done.cancelled():
                return  # the client has gone
            try:
                found = read()
            except BaseException as error:
                _settle([(done, error)])
            else:
                self._wait(_Waiting(model, found, finish, done, time.monotonic()))

        if question is None:
            self._readers.submit(begin)
        else:
            self._wait(_Waiting(model, question, finish, done, time.monotonic()))
        return await done

    def _wait(self, one: _Waiting) -> None:
        with self._changed:
            self._waiting.append(one)
            self._sizes[one.model.name] += one.question.size
            # Each wake-up costs as much as reading a small request.
            first = self._waiting[0]
            if one is first or self._sizes[first.model.name] >= self.limits.max_batch:
                self._changed.notify()

    def hurry(self) -> None:
        """Wait for no further requests before a run of the network."""
        with self._changed:
            self._hurried = True
            self._changed.notify()

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self._readers.shutdown()
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Waiting]:
        """The next batch of one model, oldest first; empty after the last one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            first = self._waiting[0]
            until = first.since + self.limits.max_wait / 1000
            while not self._hurried and self._sizes[first.model.name] < self.limits.max_batch:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            batch, size = [first], first.question.size
            self._waiting.popleft()
            others: deque[_Waiting] = deque()
            while self._waiting:
                one = self._waiting.popleft()
                more = one.question.size
                if one.model is first.model and size + more <= self.limits.max_batch:
                    batch.append(one)
                    size += more
                else:
                    others.append(one)
            self._waiting = others
            self._sizes[first.model.name] -= size
            return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        """Answer a batch; if that fails, each question alone, so that one client is refused."""
        model = batch[0].model
        self._on_batch(model, len(batch))
        try:
            answers = model.answered([one.question for one in batch])
            bodies = [one.finish(answer) for one, answer in zip(batch, answers, strict=True)]
        except BaseException as error:
            if len(batch) > 1:
                for one in batch:
                    self._answer([one])
            else:
                _settle([(batch[0].done, error)])
            return
        _settle([(one.done, body) for one, body in zip(batch, bodies, strict=True)])


Settled = Sequence[tuple["asyncio.Future[Any]", Any]]  # with the result, or the error


def _settle(settled: Settled) -> None:
    """Set futures from a thread; the loop wakes up once for all of them."""
    with suppress(RuntimeError):  # the loop is closed, so nobody waits
        settled[0][0].get_loop().call_soon_threadsafe(_set, settled)


def _set(settled: Settled) -> None:
    for done, result in settled:
        if done.cancelled():  # the client has gone
            continue
        if isinstance(result, BaseException):
            done.set_exception(result)
        else:
            done.set_result(result)

"""A connection over HTTP that ends slow headers, and loses no request when the server stops."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE = 10.0  # seconds in which the headers of a request must arrive
LINGER = 0.5  # seconds in which a request that was under way to a stopping server still counts
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, with two ends of its own.

    Uvicorn waits forever for the headers of a request, so a client that sends a byte a minute would
    hold its connection. And it closes idle connections at once when it stops, although a request
    may have been sent on them that it has not read.
    """

    _slow: asyncio.TimerHandle | None = None  # closes the connection, unless headers are complete
    _leaving = False  # the server stops

    def connection_made(self, transport: Any) -> None:
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start waiting for the headers of another request."""
        super().on_message_begin()
        if self._slow is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Stop waiting; the answer to a request that comes while the server stops is the last."""
        self._stop_waiting()
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close the connection after the answer, or if no request arrives for a moment."""
        self._leaving = True
        if self._is_idle():
            self.loop.call_later(LINGER, self._leave)
        else:
            self.cycle.keep_alive = False

    def _leave(self) -> None:
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._slow = self.loop.call_later(PATIENCE, self._end)

    def _stop_waiting(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _end(self) -> None:
        self._slow = None
        if not self.transport.is_closing():
            self.transport.write(TOO_SLOW)
            self.transport.close()

"""Run folders behind Uvicorn, until SIGTERM."""

import asyncio
import ipaddress
import logging
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from gatewise.errors import ConfigError
from gatewise.serving.app import Service, application
from gatewise.serving.connection import Connection
from gatewise.serving.limits import Limits
from gatewise.serving.models import loaded

log = logging.getLogger("gatewise")

MAX_CONNECTIONS = 4096
MAX_MESSAGE = 1_000_000  # bytes of a message on a WebSocket, which the event loop parses
DRAIN = 30  # seconds in which accepted requests are answered after SIGTERM


class Server:
    """Trained models on a socket: the socket is open at once, and `run` answers.

    Args: as of `serve`.
    """

    def __init__(
        self,
        runs: Sequence[str | Path],
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        token: str = "",
        limits: Limits | None = None,
    ) -> None:
        _refuse_open(host, token)
        self._socket = _listening(host, port)
        try:
            models = loaded(runs)
        except BaseException:
            self._socket.close()
            raise
        self._folder = tempfile.TemporaryDirectory(prefix="gatewise-serve-")
        self.service = Service(
            models, limits or Limits(), token=token, folder=Path(self._folder.name)
        )
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._uvicorn = _Uvicorn(
            self.service,
            uvicorn.Config(
                application(self.service),
                http=Connection,
                proxy_headers=False,  # nothing here asks where a client is
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=DRAIN,
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=min(self.service.limits.body_bytes, MAX_MESSAGE),
                ws_per_message_deflate=False,  # a small message may unpack to a large one
            ),
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.service.batcher.close()
        self.service.sessions.close()
        self._socket.close()
        self._folder.cleanup()

    def run(self) -> None:
        """Answer requests until `stop` is called, or until SIGTERM or Ctrl-C."""
        for sentence in self.welcome():
            log.info("%s", sentence)
        # Uvicorn's choice: uvloop, where it is installed.
        factory = self._uvicorn.config.get_loop_factory()
        with _on_signals(self.stop), asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._uvicorn.serve(sockets=[self._socket]))
        log.info("Stopped.")

    def stop(self) -> None:
        """Refuse new requests, and let `run` return when the accepted ones are answered."""
        # A signal handler calls this. It takes no lock, because it may interrupt the holder of that
        # lock. Uvicorn reads this flag ten times a second.
        self._uvicorn.should_exit = True

    def welcome(self) -> list[str]:
        """What is served, where, and who can reach it."""
        where = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        names = ", ".join(f"{name} ({one.task})" for name, one in self.service.models.items())
        reach = "Every machine of its network can reach it; the token is sent in clear text."
        if _is_loopback(self.host):
            reach = "Only this machine can reach it."
        return [f"Serving {names} on {where}. {reach}"]


class _Uvicorn(uvicorn.Server):
    """A Uvicorn that leaves signals to `Server.run`, and tells the service when it stops."""

    def __init__(self, service: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._service = service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept the connections that wait, listen no longer, and end each one after its answer.

        All of this is one step of the event loop. A socket that is closed resets the connections
        that wait to be accepted. And if the service closed connections earlier, their clients would
        open new ones.
        """
        self._service.draining = True
        self._service.batcher.hurry()
        accepted = [one for listening in sockets or [] for one in _waiting(listening)]
        connecting = [asyncio.create_task(self._connect(one)) for one in accepted]
        await super().shutdown(sockets)
        await asyncio.gather(*connecting)

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.connect_accepted_socket(self._connection, accepted)
        connection.shutdown()

    def _connection(self) -> Connection:
        state = self.lifespan.state
        return Connection(config=self.config, server_state=self.server_state, app_state=state)


def _waiting(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections of a socket that does not block, until none waits."""
    with suppress(OSError):  # none waits, or no more files may be open
        while True:
            yield listening.accept()[0]


@contextmanager
def _on_signals(stop: Any) -> Iterator[None]:
    """Call `stop` on SIGTERM and Ctrl-C; outside the main thread, signals have no effect."""
    try:
        before = {
            number: signal.signal(number, lambda *_: stop())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    Raises:
        ConfigError: the address is unknown or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # from here on, nobody else gets this port
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error).removeprefix("bind(): ").rstrip(".")
        raise ConfigError(
            f"Cannot listen on {host}, port {port}: {reason}. Choose another --host or --port."
        ) from None
    return listening


def _refuse_open(host: str, token: str) -> None:
    """Refuse to let every machine of a network in without a token.

    Raises:
        ConfigError: the address is not that of this machine alone, and there is no token.
    """
    if not (token or _is_loopback(host)):
        raise ConfigError(
            f"On {host}, every machine of the network could use the models. Set a token: "
            'GATEWISE_TOKEN="$(openssl rand -hex 16)" gatewise serve ..., or leave --host out.'
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

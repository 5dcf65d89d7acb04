"""What one client may ask for, so that the others are still answered."""

from dataclasses import dataclass

from gatewise.errors import ConfigError

LEAST = {"max_batch": 1, "max_wait": 0, "max_body": 1, "max_steps": 1, "max_pending": 1}
LEAST |= {"max_sessions": 0, "session_idle": 1}


@dataclass(frozen=True)
class Limits:
    """The limits of a server; a request beyond one is refused with a sentence."""

    max_batch: int = 256  # examples that share a run of the network
    max_wait: float = 2.0  # milliseconds that a request waits for others to share its run
    max_body: float = 8.0  # megabytes of a request
    max_steps: int = 1_000_000  # steps of a request: rows, bytes of text or samples of sound
    max_pending: int = 1024  # requests that wait at the same time
    max_sessions: int = 1024  # sequences that are open at the same time
    session_idle: float = 300.0  # seconds without a step after which a sequence is forgotten

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not least <= value < float("inf"):
                raise ConfigError(f"{name} must be a number from {least}. Received: {value}.")

    @property
    def body_bytes(self) -> int:
        """The largest body in bytes."""
        return int(self.max_body * 1e6)

    @property
    def held_bytes(self) -> int:
        """The most bytes of all bodies that wait at the same time."""
        return 32 * self.body_bytes


class Refusal(Exception):  # noqa: N818 - an answer to a client, not an error of the server
    """A request that is refused, with the status of HTTP and the sentence to send."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

"""Answer over HTTP: raw data in, the table of `predict` out."""

from collections.abc import Sequence
from pathlib import Path

from gatewise.extras import require
from gatewise.serving.limits import Limits

__all__ = ["Limits", "serve"]


def serve(
    runs: str | Path | Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str = "",
    limits: Limits | None = None,
) -> None:
    """Answer requests with trained models until SIGTERM or Ctrl-C.

    Then the requests that were accepted are answered, and new ones are refused.

    Args:
        runs: run folders; a client calls a model by the name of its folder, or by the name in
            "NAME=FOLDER".
        host: the address to listen on; only this machine reaches the default.
        port: the port; 0: any free one, which the log names.
        token: what clients must send as `Authorization: Bearer TOKEN`; "": nothing, which is
            allowed only on an address of this machine alone.
        limits: how much one request may ask for, and how long it waits for others.

    Raises:
        ConfigError: the port is taken, two runs have the same name, other machines could enter
            without a token, or a package is not installed.
        ArtefactError: a folder is not a run folder.
    """
    for package in ("fastapi", "uvicorn", "websockets"):
        require(package, "serve", "Serving")
    from gatewise.serving.server import Server

    given = [runs] if isinstance(runs, str | Path) else list(runs)
    with Server(given, host=host, port=port, token=token, limits=limits) as server:
        server.run()

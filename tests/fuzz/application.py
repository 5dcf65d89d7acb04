"""The application of a server without a socket: any bytes reach it, and nothing is sent."""

import asyncio
from urllib.parse import unquote

SECONDS = 60  # for an answer on a busy machine


def asked(app, method, path, body, headers):
    """Status and body of the answer to a request."""
    sent = [{"type": "http.request", "body": body, "more_body": False}]
    answers = _run(app, _scope("http", path, headers) | {"method": method}, sent)
    return answers[0]["status"], b"".join(one.get("body", b"") for one in answers)


def talked(app, path, messages):
    """What is said to these messages, texts or bytes, on a WebSocket: events of ASGI."""
    kinds = {str: "text", bytes: "bytes"}
    sent = [{"type": "websocket.receive", kinds[type(one)]: one} for one in messages]
    sent = [{"type": "websocket.connect"}, *sent, {"type": "websocket.disconnect", "code": 1000}]
    scope = _scope("websocket", path, {}) | {"extensions": {"websocket.http.response": {}}}
    return _run(app, scope, sent)


def _run(app, scope, sent):
    said = []
    waiting = iter(sent)

    async def receive():
        for one in waiting:
            return one
        return await asyncio.Event().wait()

    async def send(event):
        said.append(event)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), SECONDS))
    return said


def _scope(kind, path, headers):
    place, _, query = path.partition("?")
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": unquote(place),
        "raw_path": place.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), as_bytes(value)) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "state": {},
    }


def as_bytes(value):
    """The value of a header as it is sent."""
    return value if isinstance(value, bytes) else value.encode("latin-1")

"""The application of FastAPI: routes, bodies, limits, access, and answers in JSON or CSV."""

import asyncio
import codecs
import hmac
import json
import logging
import re
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, PlainTextResponse

from gatewise.errors import DataError, GatewiseError
from gatewise.readers.json import parsed
from gatewise.runs.artefact import as_csv
from gatewise.serving import inference
from gatewise.serving.batching import Batcher
from gatewise.serving.limits import Limits, Refusal
from gatewise.serving.metrics import Metrics
from gatewise.serving.models import ENDINGS, SOUNDS, Answer, Model, Question, data_in
from gatewise.serving.sessions import Session, Sessions

log = logging.getLogger("gatewise")

PATIENCE = 30.0  # seconds in which a client must send its body
EARLY = 20_000  # bytes of JSON that the event loop reads itself
JSON, CSV, TEXT = "application/json", "text/csv", "text/plain"
# Besides UTF-8. Some of Python's other encodings take quadratic time.
CHARSETS = ("ascii", "iso8859-1", "cp1252", "utf-16")
NOTES = "gatewise-notes"  # the header with the notes on the data, as JSON in ASCII
MAX_NOTES = 2000  # characters, because servers and clients limit the size of headers
TOKEN = "Give the token: Authorization: Bearer TOKEN."
OPEN = ("/", "/v2/health/live", "/v2/health/ready")  # paths that need no token
PAGE = Path(__file__).with_name("page.html")
# Of ASGI.
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Mapping[str, str]  # names in lower case
# The page sends what is typed to this server alone, and no other page may show it.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Service:
    """The models of a server, its limits and what it counts."""

    def __init__(
        self, models: Mapping[str, Model], limits: Limits, *, token: str, folder: Path
    ) -> None:
        self.models = models
        self.limits = limits
        self.token = token
        self.folder = folder  # for the bodies that are being read
        self.metrics = Metrics()
        self.batcher = Batcher(limits, lambda model, size: self.metrics.on_batch(model.name, size))
        self.sessions = Sessions(limits)
        self.pending = self.held = 0  # requests and bytes that wait
        self.draining = False

    def model(self, name: str | None) -> Model:
        """The model of this name; without a name, the only one.

        Raises:
            Refusal: there is none.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name is None:
            places = ", ".join(f"/models/{one}/predict" for one in self.models)
            raise Refusal(404, f"The server has several models. Use {places}.")
        if name not in self.models:
            raise Refusal(404, f"There is no model '{name}'. There are: {', '.join(self.models)}.")
        return self.models[name]

    async def answer(
        self,
        body: bytes,
        model: Model,
        source_of: Callable[[bytes], AbstractContextManager[Any]],
        finish: Callable[[Answer], Response],
        *,
        early: Question | None = None,
    ) -> Response:
        """Answer a body together with others; `early` is what was read of it before.

        Raises:
            Refusal: a limit is exceeded.
            GatewiseError: the data are not what the model reads.
        """

        def read() -> Question:
            with source_of(body) as source:
                later = model.asked_later(source, self.limits)
                question = later or model.asked(source, self.limits)
            return replace(question, notes=tuple(map(self.public, question.notes)))

        answered: Response = await self.batcher.answer(model, read, finish, question=early)
        return answered

    async def with_body(
        self, headers: Headers, receive: Receive, then: Callable[[bytes], Awaitable[Response]]
    ) -> Response:
        """What `then` makes of the body of a request, which counts as waiting meanwhile.

        Raises:
            Refusal: a limit is exceeded, or the body is empty, packed or too slow.
            ClientDisconnect: the client has gone.
        """
        if headers.get("content-encoding", "identity") != "identity":
            raise Refusal(415, "Send the body without a Content-Encoding.")
        if self.pending >= self.limits.max_pending:
            raise Refusal(503, "Too many requests wait (--max-pending). Try again in a second.")
        self.pending += 1
        chunks: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._receive(receive, chunks)
            except TimeoutError:
                raise Refusal(
                    408, f"The body did not arrive within {PATIENCE:.0f} s. Send it again."
                ) from None
            body = b"".join(chunks)
            if not body:
                raise Refusal(400, "The request has no body. Send the data to predict.")
            return await then(body)
        finally:
            self.pending -= 1
            self.held -= sum(map(len, chunks))

    async def _receive(self, receive: Receive, chunks: list[bytes]) -> None:
        """Append the parts of a body as they arrive."""
        received, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            chunks.append(chunk)
            received += len(chunk)
            self.held += len(chunk)
            self._check_size(received)
            more = message.get("more_body", False)

    def _check_size(self, received: int) -> None:
        if received > self.limits.body_bytes:
            raise Refusal(
                413,
                f"The body has more than {self.limits.max_body:g} MB (--max-body). Send fewer rows "
                "in a request.",
            )
        if self.held > self.limits.held_bytes:
            raise Refusal(503, "Too many bytes wait to be read. Try again in a second.")

    @contextmanager
    def source(self, headers: Headers, body: bytes) -> Iterator[Any]:
        """The data of a body: a file of the kind that its content type names, or data in memory.

        The file is alone in its folder, because readers look beside a file for others that belong
        to it, and it is removed at the end.
        """
        head = Message()
        head["content-type"] = headers.get("content-type", "")
        kind = head["content-type"].partition(";")[0].strip().lower()
        if kind not in ENDINGS:
            raise Refusal(
                415,
                f"The content type must be one of {', '.join(ENDINGS)}. Received: {kind!r}. Give "
                "it as the header Content-Type.",
            )
        if kind not in SOUNDS:
            body = as_utf8(body, head.get_content_charset("utf-8"))
        if kind == JSON and (found := data_in(body)) is not None:
            yield found
            return
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        path = folder / (_name_of(headers, kind) or f"request{ENDINGS[kind]}")
        try:
            path.write_bytes(body)
            yield path
        finally:
            path.unlink(missing_ok=True)
            folder.rmdir()

    @contextmanager
    def recordings(self, files: list[bytes]) -> Iterator[Path]:
        """A folder with these recordings as 0.wav, 1.wav ..., which is removed at the end."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            width = len(str(len(files) - 1))  # so that the order of names is theirs
            for number, content in enumerate(files):
                Path(folder, f"{number:0{width}}.wav").write_bytes(content)
            yield Path(folder)

    def early(self, headers: Headers, body: bytes, model: Model) -> Question | None:
        """The question in a small body of arrays in JSON; None for any other one.

        A thread would take longer to begin than this body to be read.

        Raises:
            Refusal: the arrays are too long.
            DataError: the body is not JSON.
        """
        plain = headers.get("content-type") == JSON and len(body) <= EARLY
        if not plain or model.kind != "numbers":
            return None
        found = data_in(body)
        return None if found is None else model.asked_later(found, self.limits)

    def public(self, sentence: str) -> str:
        """A sentence without the place where the server keeps bodies."""
        return re.sub(f"{re.escape(str(self.folder))}/[^/ ]*/", "", sentence)


def as_utf8(body: bytes, charset: str) -> bytes:
    """A text in UTF-8.

    Raises:
        Refusal: the charset is not read here, or the text is not in it.
    """
    try:
        name = codecs.lookup(charset).name
        if name == "utf-8":
            return body  # the reader names the line of a wrong byte
        if name in CHARSETS:
            return body.decode(name).encode()
    except (LookupError, ValueError):  # the latter also for a name with a null character
        pass
    raise Refusal(415, f"The body cannot be read in the charset {charset!r}. Send it as UTF-8.")


def _name_of(headers: Headers, kind: str) -> str:
    """The file name of a recording, which becomes its id; "" without one."""
    disposition = headers.get("content-disposition", "")
    found = re.search(r'filename="?([\w-][\w. -]{0,100})"?', disposition)
    if not found or kind not in SOUNDS:
        return ""
    return Path(found[1].strip()).stem + ENDINGS[kind]


def wanted(accept: str, model: Model) -> str:
    """The content type of the answer: the first one in Accept that the server writes.

    Raises:
        Refusal: it writes none of them.
    """
    offers = [JSON, CSV, *([TEXT] if model.lines else [])]
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        kind = part.partition(";")[0].strip().lower()
        if kind in ("*/*", "application/*"):
            return JSON
        if kind == "text/*":
            return CSV
        if kind in offers:
            return kind
    raise Refusal(406, f"The answer is one of {', '.join(offers)}. Accept was {accept!r}.")


def written(answer: Answer, kind: str, lines: str) -> Response:
    """The table of an answer as JSON records, as CSV, or as the lines of one column."""
    if kind == CSV:
        content = as_csv(answer.table)
    elif kind == TEXT:
        content = "".join(" ".join(text.split()) + "\n" for text in answer.table[lines])
    else:
        content = answer.records or answer.table.write_json()
    headers = {}
    if answer.notes:
        headers[NOTES] = _as_header(answer.notes)
    return Response(content, media_type=kind, headers=headers)


def _as_header(notes: Sequence[str]) -> str:
    """The notes as a JSON array that fits into a header; the last ones are left out first."""
    text, fitting = json.dumps(notes), len(notes)
    while len(text) > MAX_NOTES:
        fitting -= 1
        text = json.dumps([*notes[:fitting], "The other notes are too long for a header."])
    return text


def application(service: Service) -> "Gate":
    """The application that answers for a service."""
    app = FastAPI(
        title="gatewise",
        version=metadata.version("gatewise"),
        description="Predictions of trained models: raw data in, the table of `predict` out.",
        # The pages of Swagger load scripts from other servers.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host that the client claims
    )
    app.include_router(_predictions(service))
    app.include_router(_protocol(service))
    app.include_router(_facts(service))
    app.include_router(_streams(service))

    @app.exception_handler(HTTPException)
    async def unknown(_request: Request, error: HTTPException) -> Response:
        allowed = (error.headers or {}).get("Allow")
        method = f" Use {allowed}." if allowed else ""
        place = " The places are in /openapi.json." if error.status_code in (404, 405) else ""
        return _sentence(error.status_code, f"{error.detail}.{method}{place}", error.headers)

    app.add_middleware(_Sentences, service=service)
    return Gate(app, service)


async def predicted(
    service: Service, scope: Scope, receive: Receive, name: str | None = None
) -> Response:
    """The answer to a request with raw data.

    Raises:
        Refusal: there is no such model, or a limit is exceeded.
        GatewiseError: the data are not what the model reads.
    """
    model = service.model(name)
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    kind = wanted(headers.get("accept", ""), model)

    async def answer(body: bytes) -> Response:
        return await service.answer(
            body,
            model,
            lambda body: service.source(headers, body),
            lambda answer: written(answer, kind, model.lines),
            early=service.early(headers, body, model),
        )

    return await service.with_body(headers, receive, answer)


def _predictions(service: Service) -> APIRouter:
    """The routes for raw data."""
    routes = APIRouter()

    @routes.post("/predict", openapi_extra=_BODY, responses=_ANSWERS)
    async def predict_with_the_only_model(request: Request) -> Response:
        """Predict raw data with the only model of the server."""
        return await predicted(service, dict(request.scope), request.receive)

    @routes.post("/models/{name}/predict", openapi_extra=_BODY, responses=_ANSWERS)
    async def predict_with_a_model(request: Request, name: str) -> Response:
        """Predict raw data with one of the models."""
        return await predicted(service, dict(request.scope), request.receive, name)

    return routes


def _protocol(service: Service) -> APIRouter:
    """The routes of the Open Inference Protocol."""
    routes = APIRouter(prefix="/v2")

    @routes.get("")
    async def server_metadata() -> dict[str, Any]:
        """The metadata of the server."""
        version = metadata.version("gatewise")
        return {"name": "gatewise", "version": version, "extensions": inference.EXTENSIONS}

    @routes.get("/health/live")
    async def live() -> dict[str, bool]:
        """Whether the server runs."""
        return {"live": True}

    @routes.get("/health/ready")
    async def ready() -> Response:
        """Whether the server takes requests."""
        return _ready(service)

    @routes.get("/models/{name}/ready", responses=_ANSWERS)
    async def model_ready(name: str) -> Response:
        """Whether a model takes requests."""
        service.model(name)
        return _ready(service)

    @routes.get("/models/{name}", responses=_ANSWERS)
    async def model_metadata(name: str) -> dict[str, Any]:
        """The tensors that a model reads."""
        return inference.described(service.model(name))

    @routes.post("/models/{name}/infer", openapi_extra=_TENSORS, responses=_ANSWERS)
    async def infer(request: Request, name: str) -> Response:
        """Predict tensors."""
        return await _inferred(service, service.model(name), request)

    return routes


def _streams(service: Service) -> APIRouter:
    """The route of sequences that are still going on."""
    routes = APIRouter()

    @routes.websocket("/models/{name}/stream")
    async def stream(socket: WebSocket, name: str) -> None:
        """Answer each message of steps, with the states of the network carried on."""
        sessions = service.sessions
        try:
            session = await sessions.opened(service.model(name), object())
        except (Refusal, GatewiseError) as error:
            await socket.send_denial_response(refusal(error, service))
            return
        try:
            await socket.accept()
            while True:
                try:
                    async with asyncio.timeout(service.limits.session_idle):
                        message = await socket.receive()
                except TimeoutError:
                    await socket.close(1001, "No step came for long.")
                    return
                if message["type"] == "websocket.disconnect":
                    return
                await socket.send_text(await _streamed(service, session, message))
                if not sessions.holds(session):
                    await socket.close(1011, "The server failed.")
                    return
        finally:
            sessions.end(session)

    return routes


FINISH = "finish"  # the message, a text of JSON, that asks for the last answers


async def _streamed(service: Service, session: Session, message: Mapping[str, Any]) -> str:
    """The answers to a message as JSON records, or a sentence."""
    given, rows = message.get("text") or "", message.get("bytes")
    try:
        if rows is None:
            rows = parsed(given.encode("utf-8", "surrogatepass"), "The message")
        elif session.stream.kind != "sound":
            raise DataError("Only the samples of a recording come as bytes. Send JSON.")
        end = isinstance(rows, str) and rows == FINISH
        if not end and not (rows and isinstance(rows, dict | list | bytes)):
            raise DataError(f'A message is a row, a list of rows or "{FINISH}", as JSON.')
        answer = await service.sessions.advanced(session, None if end else rows, end=end)
    except Exception as error:
        return bytes(refusal(error, service).body).decode()
    return answer.table.write_json() if len(answer.table) else "[]"


async def _inferred(service: Service, model: Model, request: Request) -> Response:
    """The answer to a request of the protocol, alone or as part of a sequence."""
    length = request.headers.get(inference.LENGTH)
    text = model.kind in ("text", "tokens")
    asked: dict[str, Any] = {}

    def source_of(body: bytes) -> AbstractContextManager[Any]:
        found, binary = inference.split_body(body, length)
        asked.update(found)
        # A sequence takes samples, of which there may be no whole recording yet.
        if model.kind == "sound" and not inference.names_sequence(found):
            return service.recordings(inference.recordings_of(found, binary))
        return nullcontext(inference.source_of(found, binary, text=text))

    def finish(answer: Answer) -> Response:
        content, headers = inference.reply(model, asked, answer)
        return Response(content, headers=headers)

    async def reply(body: bytes) -> Response:
        # A column may have the name of the parameter, so only the parsed request tells.
        if f'"{inference.SEQUENCE}"'.encode() in body:
            with await asyncio.to_thread(source_of, body) as source:
                if inference.names_sequence(asked):
                    rows = inference.steps_of(source, sound=model.kind == "sound")
                    return finish(await _in_sequence(service, model, asked, rows))
        return await service.answer(body, model, source_of, finish)

    return await service.with_body(request.headers, request.receive, reply)


async def _in_sequence(
    service: Service, model: Model, asked: Mapping[str, Any], rows: Any
) -> Answer:
    """The answers to more rows of the sequence that a request names."""
    name, start, end = inference.sequence_of(asked)
    sessions = service.sessions
    session = await sessions.opened(model, name) if start else sessions.found(model, name)
    try:
        answer = await sessions.advanced(session, rows, end=end)
    except BaseException:
        if start:  # so that the client can start again
            sessions.end(session)
        raise
    if end:
        sessions.end(session)
    return answer


def _facts(service: Service) -> APIRouter:
    """The routes about the server itself."""
    routes = APIRouter()
    page = PAGE.read_text(encoding="utf-8")

    @routes.get("/", response_class=HTMLResponse)
    async def form() -> Response:
        """A page with a form for the data."""
        return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY})

    @routes.get("/models/{name}/report", response_class=HTMLResponse, responses=_ANSWERS)
    async def report(name: str) -> Response:
        """The report of a run."""
        text = await asyncio.to_thread(service.model(name).report)
        if text is None:
            raise Refusal(404, f"The run '{name}' has no report. Write it: gatewise report.")
        return HTMLResponse(text)

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The models of the server, with their tasks."""
        return {name: {"task": one.task, "data": one.kind} for name, one in service.models.items()}

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        text = service.metrics.text(service.pending, len(service.sessions))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return routes


def _ready(service: Service) -> Response:
    ready = not service.draining
    return Response(json.dumps({"ready": ready}), 200 if ready else 503, media_type=JSON)


def _sentence(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps({"error": text}, ensure_ascii=False)
    return Response(content, status, headers=headers, media_type=JSON)


_SCHEMAS = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ENDINGS}
_SCHEMAS[JSON] = {"schema": {}}
_BODY = {"requestBody": {"required": True, "content": _SCHEMAS}}
_TENSORS = {"requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}}
_SENTENCE = {
    "content": {JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, **_SENTENCE}
    for status, meaning in {
        400: "The request is not what the protocol describes.",
        401: "The token is missing or wrong.",
        404: "There is no such model or sequence.",
        406: "The answer cannot be written in the accepted form.",
        408: "The body did not arrive in time.",
        409: "A sequence of this name is open.",
        413: "The data are too long.",
        415: "The content type is unknown.",
        422: "The data are not what the model reads.",
        503: "The server is busy or stops.",
    }.items()
}


class _Sentences:
    """Answers errors with a sentence, before FastAPI answers them with words of its own."""

    def __init__(self, app: App, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception as error:
            if scope["type"] != "http":
                raise
            await refusal(error, self.service)(scope, receive, send)


class Gate:
    """The outermost layer: access, counting, and predictions.

    Predictions go past FastAPI, which describes them: its routes and dependencies take longer than
    all else that the event loop does for a request.
    """

    def __init__(self, app: App, service: Service) -> None:
        self.app = app
        self.service = service
        self.models = {f"/models/{name}/predict": name for name in service.models}
        if len(service.models) == 1:
            self.models["/predict"] = next(iter(service.models))
        self._answer = _Sentences(self._answered, service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if (denied := self._denied(WebSocket(scope, receive, send))) is None:
                await self.app(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).send_denial_response(denied)
            return
        began, service = time.perf_counter(), self.service
        status = 499  # the client has gone

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if service.draining:  # or the client might send its next request in vain
                    closing = (b"connection", b"close")
                    message = message | {"headers": [*message["headers"], closing]}
            await send(message)

        await self._answer(scope, receive, sending)
        name = self._model_of(scope["path"])
        service.metrics.on_answer(name, status, time.perf_counter() - began)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.service.token and scope["path"] not in OPEN and not self._may_enter(scope):
            raise Refusal(401, TOKEN)
        name = self.models.get(scope["path"]) if scope["method"] == "POST" else None
        if name is not None:
            response = await predicted(self.service, scope, receive, name)
            await response(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server leaves out the body
            scope = scope | {"method": "GET"}
        await self.app(scope, receive, send)

    def _model_of(self, path: str) -> str:
        """The model that a path names; "" for none."""
        models = self.service.models
        parts = path.removeprefix("/v2").split("/")
        name = parts[2] if len(parts) > 3 and parts[1] == "models" else ""
        if path == "/predict" and len(models) == 1:
            name = next(iter(models))
        return name if name in models else ""

    def _denied(self, socket: WebSocket) -> Response | None:
        """The answer to a connection without the token, or from a page of another server."""
        origin, host = socket.headers.get("origin"), socket.headers.get("host")
        if origin is not None and origin.partition("://")[2] != host:
            return _sentence(403, f"A page of {origin} may not connect to {host}.")
        if self.service.token and not self._may_enter(socket.scope):
            return refusal(Refusal(401, TOKEN), self.service)
        return None

    def _may_enter(self, scope: Mapping[str, Any]) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, token = given.partition(b" ")
        same = hmac.compare_digest(token.strip(), self.service.token.encode())
        return scheme.lower() == b"bearer" and same


def refusal(error: Exception, service: Service) -> Response:
    """The answer to a request that failed."""
    status = 500
    headers: dict[str, str] = {}
    if isinstance(error, MemoryError):
        error = Refusal(503, "There is not enough memory for this. Send fewer rows.")
    if isinstance(error, Refusal):
        status = error.status
    elif isinstance(error, GatewiseError):
        status = 422
    if status == 503:
        headers["retry-after"] = "1"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 500:
        log.error("A request failed. %s", "".join(traceback.format_exception(error)))
        text = "The server failed; its log says why."
    else:
        text = service.public(str(error))
    return _sentence(status, text, headers)

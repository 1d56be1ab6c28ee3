"""The agent's doors: device, models, runs. JSON and raw bytes; no pickle, no archive, no code, no path comes in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autocompress.benchmarking.agent.auth import MOST_BODY, TokenAuth
from autocompress.benchmarking.agent.fingerprint import fingerprint
from autocompress.benchmarking.agent.model_cache import ModelCache, OffsetMismatch, QuotaExceeded, UploadInProgress
from autocompress.benchmarking.agent.onnx_validation import RequestRejected
from autocompress.benchmarking.agent.run_queue import QueuedRun, QueueFull, RunQueue
from autocompress.benchmarking.agent.runner import RunRequest

RUN_NAME = re.compile(r"[0-9a-f]{16,64}")
MOST_WAIT = 30.0  # seconds that a question for a run's state is held open
BODY_SECONDS = 120.0  # for one request's body to come in


class Agent:
    """The doors of one device."""

    def __init__(self, shelf: ModelCache, line: RunQueue) -> None:
        self.shelf, self.line = shelf, line

    async def device(self, request: Request) -> Response:
        """What this device is, and what it takes."""
        limits = {
            "model_bytes": self.shelf.most_model_bytes,
            "models_bytes": self.shelf.most_bytes,
            "run_seconds": self.line.seconds,
            "run_bytes": self.line.memory_bytes,
        }
        return JSONResponse({**await run_in_threadpool(fingerprint), "limits": limits})

    async def offset(self, request: Request) -> Response:
        """How much of a model is there."""
        sha256 = request.path_params["sha256"]
        holds = self.shelf.holds(sha256)
        headers = {"upload-offset": str(self.shelf.offset(sha256)), "upload-complete": "?1" if holds else "?0"}
        return Response(status_code=200, headers=headers)

    async def piece(self, request: Request) -> Response:
        """Take the next piece of a model; the last one has it checked."""
        sha256 = request.path_params["sha256"]
        offset, length = (_number(request, name) for name in ("upload-offset", "upload-length"))
        self.shelf.folder(sha256)
        with self.shelf.taking(sha256):
            body = await _body(request)
            offset = await run_in_threadpool(self.shelf.append, sha256, offset, length, body)
            if offset == length:
                await run_in_threadpool(self.shelf.finish, sha256)
        done = {"upload-offset": str(offset), "upload-complete": "?1" if offset == length else "?0"}
        return Response(status_code=201 if offset == length else 204, headers=done)

    async def join(self, request: Request) -> Response:
        """A run waits in line from now on; asking again changes nothing."""
        name = _run_name(request)
        header, _, ids = (await _body(request)).partition(b"\n")
        try:
            run = RunRequest.model_validate_json(header)
            run.rows(ids)
        except (ValidationError, ValueError) as error:
            raise RequestRejected(_in_short(error)) from None
        for model in (run.model, run.reference):
            if model is not None and not self.shelf.holds(model):
                return JSONResponse({"error": f"the model {model} is not here; send it first"}, 404)
        return JSONResponse(self._state(self.line.join(name, run, ids)), 202)

    async def state(self, request: Request) -> Response:
        """How a run stands; waits for its end as long as the question says."""
        job = self.line.jobs.get(_run_name(request))
        wait = min(MOST_WAIT, float(_number(request.query_params.get("wait", "0"), "wait")))
        if job is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await job.event.wait()
        if job is None or job.state == "gone":
            return JSONResponse({"error": "there is no such run; send its models and ask for it again"}, 404)
        return JSONResponse(self._state(job))

    async def answer(self, request: Request) -> Response:
        """The logits of a run that is done."""
        job = self.line.jobs.get(_run_name(request))
        if job is None or job.state != "done":
            return JSONResponse({"error": "there is no such run that is done; ask for its state"}, 404)
        return Response(job.answer, media_type="application/octet-stream")

    def _state(self, job: QueuedRun) -> dict[str, object]:
        said = {"state": job.state, "ahead": self.line.place(job), "fraction": job.fraction, "error": job.reason}
        return said | ({"result": job.header} if job.state == "done" else {})


def make_app(shelf: ModelCache, line: RunQueue, token: str) -> TokenAuth:
    """The agent as an ASGI application."""
    agent = Agent(shelf, line)

    @asynccontextmanager
    async def serving(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(line.serve())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    routes = [
        Route("/v1/device", agent.device, methods=["GET"]),
        Route("/v1/models/{sha256}", agent.offset, methods=["HEAD"]),
        Route("/v1/models/{sha256}", agent.piece, methods=["PATCH"]),
        Route("/v1/runs/{name}", agent.join, methods=["PUT"]),
        Route("/v1/runs/{name}", agent.state, methods=["GET"]),
        Route("/v1/runs/{name}/answer", agent.answer, methods=["GET"]),
    ]
    answers = {
        RequestRejected: 422,
        UploadInProgress: 409,
        QuotaExceeded: 507,
        QueueFull: 503,
        OffsetMismatch: 409,
        TimeoutError: 408,
    }
    handlers = {kind: _answering(status) for kind, status in answers.items()}
    limit = Middleware(RequestBodyLimitMiddleware, max_body_size=MOST_BODY)
    return TokenAuth(Starlette(routes=routes, lifespan=serving, exception_handlers=handlers, middleware=[limit]), token)


def _answering(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        headers = {"upload-offset": str(error.offset)} if isinstance(error, OffsetMismatch) else {}
        if status in (409, 503):
            headers["retry-after"] = "1"
        words = str(error) or "the body came too slowly"
        return JSONResponse({"error": words}, status, headers)

    return handle


async def _body(request: Request) -> bytes:
    parts = []
    async with asyncio.timeout(BODY_SECONDS):
        try:
            async for part in request.stream():
                parts.append(part)
        except ClientDisconnect:
            raise RequestRejected("the connection was lost") from None
    return b"".join(parts)


def _run_name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not RUN_NAME.fullmatch(name):
        raise RequestRejected("a run is named by 16 to 64 hexadecimal digits")
    return name


def _number(source: Request | str, name: str) -> int:
    text = source if isinstance(source, str) else source.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RequestRejected(f"{name}: a whole number is needed, but got {text[:40]!r}")
    return int(text)


def _in_short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the run'}: {first['msg']}"
    return str(error)

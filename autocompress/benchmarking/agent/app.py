"""The agent's HTTP API: device, models, runs. It takes JSON and raw bytes; no pickle, no archive, no code and no path."""

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

from autocompress.benchmarking.agent.auth import MAX_BODY_BYTES, TokenAuth
from autocompress.benchmarking.agent.errors import (
    OffsetMismatch,
    QueueFull,
    QuotaExceeded,
    RequestRejected,
    UploadInProgress,
)
from autocompress.benchmarking.agent.fingerprint import fingerprint
from autocompress.benchmarking.agent.model_cache import ModelCache
from autocompress.benchmarking.agent.run_queue import QueuedRun, RunQueue
from autocompress.benchmarking.agent.run_request import RunRequest

RUN_NAME = re.compile(r"[0-9a-f]{16,64}")
MAX_WAIT_SECONDS = 30.0  # for which a request for a run's state is held open
MAX_BODY_SECONDS = 120.0  # for the body of one request to arrive
STATUS_OF_ERROR = {
    RequestRejected: 422,
    UploadInProgress: 409,
    QuotaExceeded: 507,
    QueueFull: 503,
    OffsetMismatch: 409,
    TimeoutError: 408,
}


class Agent:
    """The request handlers of one device."""

    def __init__(self, cache: ModelCache, queue: RunQueue) -> None:
        self.cache, self.queue = cache, queue

    async def describe_device(self, request: Request) -> Response:
        """Return the device's fingerprint and limits."""
        limits = {
            "model_bytes": self.cache.max_model_bytes,
            "models_bytes": self.cache.max_bytes,
            "run_seconds": self.queue.limits.seconds,
            "run_bytes": self.queue.limits.memory_bytes,
        }
        return JSONResponse({**await run_in_threadpool(fingerprint), "limits": limits})

    async def describe_upload(self, request: Request) -> Response:
        """Return how many bytes of a model have arrived."""
        sha256 = request.path_params["sha256"]
        complete = self.cache.has_model(sha256)
        headers = {"upload-offset": str(self.cache.count_bytes(sha256)), "upload-complete": "?1" if complete else "?0"}
        return Response(status_code=200, headers=headers)

    async def append_piece(self, request: Request) -> Response:
        """Take the next piece of a model; check the model after the last one."""
        sha256 = request.path_params["sha256"]
        offset, length = (_read_number(request, name) for name in ("upload-offset", "upload-length"))
        self.cache.folder(sha256)  # rejects an invalid name
        with self.cache.reserve_upload(sha256):
            body = await _read_body(request)
            offset = await run_in_threadpool(self.cache.append, sha256, offset, length, body)
            if offset == length:
                await run_in_threadpool(self.cache.complete, sha256)
        headers = {"upload-offset": str(offset), "upload-complete": "?1" if offset == length else "?0"}
        return Response(status_code=201 if offset == length else 204, headers=headers)

    async def submit_run(self, request: Request) -> Response:
        """Add a run to the queue; submitting it again changes nothing."""
        name = _read_run_name(request)
        header, _, ids = (await _read_body(request)).partition(b"\n")
        try:
            run_request = RunRequest.model_validate_json(header)
            run_request.split_rows(ids)
        except (ValidationError, ValueError) as error:
            raise RequestRejected(_summarize_error(error)) from None
        for model in (run_request.model, run_request.reference):
            if model is not None and not self.cache.has_model(model):
                return JSONResponse({"error": f"the device does not have the model {model}; send it first"}, 404)
        return JSONResponse(self._state_of(self.queue.submit(name, run_request, ids)), 202)

    async def describe_run(self, request: Request) -> Response:
        """Return the state of a run, after waiting for its end as long as the request asks."""
        run = self.queue.runs.get(_read_run_name(request))
        wait = min(MAX_WAIT_SECONDS, float(_read_number(request.query_params.get("wait", "0"), "wait")))
        if run is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await run.event.wait()
        if run is None or run.state == "evicted":
            return JSONResponse(
                {"error": "the device does not have this run; send its models and submit it again"}, 404
            )
        return JSONResponse(self._state_of(run))

    async def return_answer(self, request: Request) -> Response:
        """Return the logits of a finished run."""
        run = self.queue.runs.get(_read_run_name(request))
        if run is None or run.state != "done":
            return JSONResponse({"error": "the device has no finished run of this name; ask for its state first"}, 404)
        return Response(run.answer, media_type="application/octet-stream")

    def _state_of(self, run: QueuedRun) -> dict[str, object]:
        state = {
            "state": run.state,
            "ahead": self.queue.count_ahead(run),
            "fraction": run.messages.fraction,
            "error": run.reason,
        }
        return state | ({"result": run.header} if run.state == "done" else {})


def make_app(cache: ModelCache, queue: RunQueue, token: str) -> TokenAuth:
    """Return the agent as an ASGI application, which serves the queue while it is up."""
    agent = Agent(cache, queue)

    @asynccontextmanager
    async def serve_queue(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(queue.serve())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    routes = [
        Route("/v1/device", agent.describe_device, methods=["GET"]),
        Route("/v1/models/{sha256}", agent.describe_upload, methods=["HEAD"]),
        Route("/v1/models/{sha256}", agent.append_piece, methods=["PATCH"]),
        Route("/v1/runs/{name}", agent.submit_run, methods=["PUT"]),
        Route("/v1/runs/{name}", agent.describe_run, methods=["GET"]),
        Route("/v1/runs/{name}/answer", agent.return_answer, methods=["GET"]),
    ]
    handlers = {kind: _make_error_handler(status) for kind, status in STATUS_OF_ERROR.items()}
    limit = Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app = Starlette(routes=routes, lifespan=serve_queue, exception_handlers=handlers, middleware=[limit])
    return TokenAuth(app, token)


def _make_error_handler(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        headers = {"upload-offset": str(error.offset)} if isinstance(error, OffsetMismatch) else {}
        if status in (409, 503):
            headers["retry-after"] = "1"
        reason = str(error) or f"the body took longer than {MAX_BODY_SECONDS:.0f} s to arrive"
        return JSONResponse({"error": reason}, status, headers)

    return handle


async def _read_body(request: Request) -> bytes:
    parts = []
    async with asyncio.timeout(MAX_BODY_SECONDS):
        try:
            async for part in request.stream():
                parts.append(part)
        except ClientDisconnect:
            raise RequestRejected("the connection was lost") from None
    return b"".join(parts)


def _read_run_name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not RUN_NAME.fullmatch(name):
        raise RequestRejected("the name of a run must have 16 to 64 hexadecimal digits")
    return name


def _read_number(source: Request | str, name: str) -> int:
    text = source if isinstance(source, str) else source.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RequestRejected(f"{name}: {text[:40]!r} is not a whole number with at most 15 digits")
    return int(text)


def _summarize_error(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the run'}: {first['msg']}"
    return str(error)

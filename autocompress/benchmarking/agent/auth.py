"""Check token, rate and size of a request before a byte of its body is read."""

from __future__ import annotations

import hmac
import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


MAX_BODY_BYTES = 16 << 20  # models are sent in pieces
MAX_ADDRESSES = 10_000


@dataclass
class TokenBucket:
    """A rate limit per address: tokens refill with time, and each call takes one."""

    capacity: float
    per_second: float
    levels: dict[str, tuple[float, float]] = field(default_factory=OrderedDict)  # address -> tokens, at which second

    def take(self, address: str, cost: float = 1.0) -> bool:
        """Take tokens of an address; return whether there were enough."""
        now = time.monotonic()
        tokens, before = self.levels.pop(address, (self.capacity, now))
        tokens = min(self.capacity, tokens + (now - before) * self.per_second)
        self.levels[address] = (tokens - cost if tokens >= cost else tokens, now)
        while len(self.levels) > MAX_ADDRESSES:
            del self.levels[next(iter(self.levels))]  # the address that was quiet for longest
        return tokens >= cost

    def is_empty(self, address: str) -> bool:
        """Whether an address has less than one token."""
        return not self.take(address, 0.0) or self.levels[address][0] < 1


class TokenAuth:
    """An ASGI middleware that compares tokens in constant time and slows down addresses that guess."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self._authorization = app, f"Bearer {token}".encode()
        self._calls, self._failures = TokenBucket(200, 50), TokenBucket(10, 0.1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._find_refusal(scope)
        if refusal is not None:
            await refuse(send, *refusal)
            return
        await self.app(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        address = str((scope.get("client") or ("unknown",))[0])
        if self._failures.is_empty(address):
            return 429, "too many wrong tokens came from this address; wait a minute"
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._authorization):
            self._failures.take(address)
            return 401, "the token is missing or wrong; send the token that the agent was started with"
        if not self._calls.take(address):
            return 429, "too many requests came from this address; wait a second"
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return 415, "content-encoding: compressed bodies are not accepted; send the bytes as they are"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return 413, f"content-length: at most {MAX_BODY_BYTES:,} bytes are allowed; send a model in pieces"
        return None


async def refuse(send: Send, status: int, reason: str) -> None:
    """Answer with a reason, and close the connection, since the body was not read."""
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status in (429, 503):
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

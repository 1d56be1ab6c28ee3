"""Who may ask, how often and how much: looked at before a byte of a request's body is read."""

from __future__ import annotations

import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 16 << 20  # bytes; models come in pieces
MOST_ADDRESSES = 10_000


@dataclass
class Bucket:
    """Tokens that fill up with time; each call takes one."""

    most: float
    per_second: float
    full: dict[str, tuple[float, float]] = field(default_factory=OrderedDict)  # address -> tokens, when

    def take(self, address: str, cost: float = 1.0) -> bool:
        """Whether there was one to take."""
        now = time.monotonic()
        tokens, then = self.full.pop(address, (self.most, now))
        tokens = min(self.most, tokens + (now - then) * self.per_second)
        self.full[address] = (tokens - cost if tokens >= cost else tokens, now)
        while len(self.full) > MOST_ADDRESSES:
            del self.full[next(iter(self.full))]  # whoever was not seen for longest
        return tokens >= cost


class TokenAuth:
    """An ASGI middleware. Tokens are compared in constant time; whoever guesses soon has to wait."""

    def __init__(self, app: App, token: str) -> None:
        self.app, self._token = app, f"Bearer {token}".encode()
        self._calls, self._failures = Bucket(200, 50), Bucket(10, 0.1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refuse(send, *refusal)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        address = str((scope.get("client") or ("unknown",))[0])
        if not self._failures.take(address, 0.0) or self._failures.full[address][0] < 1:
            return 429, "too many wrong tokens came from this address; wait a minute"
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._token):
            self._failures.take(address)
            return 401, "the token is missing or wrong; send the one that the agent was started with"
        if not self._calls.take(address):
            return 429, "too many requests came from this address; wait a second"
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return 415, "packed bodies are not unpacked here; send the bytes as they are"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BODY:
            return 413, f"a request may have at most {MOST_BODY} bytes; send a model in pieces"
        return None


async def refuse(send: Send, status: int, reason: str) -> None:
    """Answer with a reason, and close the connection: the body was not read."""
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

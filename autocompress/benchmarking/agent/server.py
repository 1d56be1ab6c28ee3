"""Open the agent's doors."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from autocompress.benchmarking.agent.app import make_app
from autocompress.benchmarking.agent.model_cache import ModelCache
from autocompress.benchmarking.agent.run_queue import RunQueue, default_root
from autocompress.core.errors import UsageError

MOST_CONNECTIONS = 128


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How an agent serves."""

    host: str = "127.0.0.1"
    port: int = 7311
    folder: Path | None = None  # of the models; default: the user's cache
    token: str | None = None  # null: one is made up, and said
    certificate: Path | None = None
    key: Path | None = None
    max_gb: float = 5.0  # of models that are kept
    max_model_gb: float = 2.0
    run_seconds: float = 600.0
    run_gb: float = 4.0  # of memory that a run may take


def serve(settings: Settings, notify: Callable[[str], None]) -> None:
    """Serve until interrupted."""
    if (settings.certificate is None) != (settings.key is None):
        raise UsageError("agent: --certificate and --key belong together; give both or neither")
    token = settings.token or secrets.token_urlsafe(24)
    if len(token) < 16:
        raise UsageError(f"agent: the token must have at least 16 characters, but has {len(token)}")
    shelf = ModelCache(settings.folder or default_root(), int(settings.max_gb * 1e9), int(settings.max_model_gb * 1e9))
    line = RunQueue(shelf, settings.run_seconds, int(settings.run_gb * 1e9))
    config = uvicorn.Config(
        make_app(shelf, line, token), log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=30, timeout_graceful_shutdown=5, ws="none",
        ssl_certfile=settings.certificate, ssl_keyfile=settings.key,
    )  # fmt: skip
    with _listening(settings.host, settings.port) as door:
        scheme = "https" if settings.certificate else "http"
        notify(f"agent: {scheme}://{settings.host}:{door.getsockname()[1]}")
        if settings.token is None:
            notify(f"token: {token}  (on the host: export AUTOCOMPRESS_TOKEN={token})")
        if scheme == "http" and not _is_loopback(settings.host):
            notify(
                "anyone on the way can read the token: without TLS (--certificate, --key) use a network that you trust"
            )
        uvicorn.Server(config).run(sockets=[door])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=512)
    except OSError as error:
        raise UsageError(f"agent: {host}:{port} cannot be opened ({error.strerror}); choose another --port") from None


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")

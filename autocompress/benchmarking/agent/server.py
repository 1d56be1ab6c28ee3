"""Start the agent's server."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from autocompress.benchmarking.agent.app import make_app
from autocompress.benchmarking.agent.model_cache import ModelCache
from autocompress.benchmarking.agent.run_process import RunLimits
from autocompress.benchmarking.agent.run_queue import RunQueue
from autocompress.core.errors import UsageError

MAX_CONNECTIONS = 128
MIN_TOKEN_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an agent's server."""

    host: str = "127.0.0.1"
    port: int = 7311
    folder: Path | None = None  # of the models; default: in the user's cache
    token: str | None = None  # null: the agent makes a token and prints it
    certificate: Path | None = None
    key: Path | None = None
    max_gb: float = 5.0  # of models in the cache
    max_model_gb: float = 2.0
    run_seconds: float = 600.0
    run_gb: float = 4.0  # of memory for a run


def serve(settings: Settings, notify: Callable[[str], None]) -> None:
    """Serve until interrupted; UsageError for settings that do not fit together."""
    if (settings.certificate is None) != (settings.key is None):
        raise UsageError("agent: --certificate and --key belong together; give both or neither")
    token = settings.token or secrets.token_urlsafe(24)
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise UsageError(
            f"agent: the token has {len(token)} characters; at least {MIN_TOKEN_CHARACTERS} are needed, choose a longer one"
        )
    cache = ModelCache(
        settings.folder or _default_folder(), int(settings.max_gb * 1e9), int(settings.max_model_gb * 1e9)
    )
    queue = RunQueue(cache, RunLimits(settings.run_seconds, int(settings.run_gb * 1e9)))
    config = uvicorn.Config(
        make_app(cache, queue, token), log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=30, timeout_graceful_shutdown=5, ws="none",
        ssl_certfile=settings.certificate, ssl_keyfile=settings.key,
    )  # fmt: skip
    with _open_socket(settings.host, settings.port) as listener:
        _announce(settings, token, listener.getsockname()[1], notify)
        uvicorn.Server(config).run(sockets=[listener])


def _announce(settings: Settings, token: str, port: int, notify: Callable[[str], None]) -> None:
    """Tell the user the agent's address, a token it made, and the risk of an open network."""
    scheme = "https" if settings.certificate else "http"
    notify(f"agent: {scheme}://{settings.host}:{port}")
    if settings.token is None:
        notify(f"token: {token}  (on the host: export AUTOCOMPRESS_TOKEN={token})")
    if scheme == "http" and not _is_loopback(settings.host):
        notify("anyone on the network can read the token: use TLS (--certificate, --key) or a network that you trust")


def _open_socket(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=512)
    except OSError as error:
        raise UsageError(f"agent: {host}:{port} cannot be opened ({error.strerror}); choose another --port") from None


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _default_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "autocompress" / "agent"

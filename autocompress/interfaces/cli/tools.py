"""Commands beside studies: check and measure an exported folder, lend this machine to others, say what it can do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autocompress.core.errors import UsageError
from autocompress.interfaces.cli import options as opt
from autocompress.interfaces.cli._app import app
from autocompress.interfaces.terminal import Terminal, command

if TYPE_CHECKING:
    from autocompress.config import Device

TOKEN = "AUTOCOMPRESS_TOKEN"  # the environment variable that holds an agent's token


@command(app)
def verify(terminal: Terminal, folder: opt.Folder) -> None:
    """Check an exported folder: the hashes of its files, and the outputs that were recorded."""
    from autocompress.actions.verify import verify_folder
    from autocompress.interfaces import rendering

    verdict = verify_folder(folder)
    terminal.result(verdict.as_json(), rendering.verdict_sentence(verdict))
    if not verdict.passed:
        raise typer.Exit(1)


@command(app)
def measure(
    terminal: Terminal,
    folder: opt.Folder,
    reference: opt.Reference = None,
    threads: opt.Threads = None,
    batch: opt.Batch = None,
    tokens: opt.Tokens = None,
    device: opt.Device = None,
    token_env: opt.TokenEnv = TOKEN,
    ca: opt.Ca = None,
) -> None:
    """Measure latency, size and memory of an exported folder, on this machine or on another device."""
    from autocompress.actions.measure_folder import measure_folder
    from autocompress.interfaces import rendering

    if device is None:
        terminal.note("measuring; other work on this machine would be measured, too")
    where = _device(device, token_env, ca)
    figures = measure_folder(folder, reference, threads, batch, tokens, notify=terminal.note, device=where)
    terminal.result(figures.as_json(), *rendering.figures_sentences(figures))


@command(app, prints_results=False)
def agent(
    terminal: Terminal,
    host: opt.Host = "127.0.0.1",
    port: opt.Port = 7311,
    token_env: opt.TokenEnv = TOKEN,
    folder: opt.AgentFolder = None,
    certificate: opt.Certificate = None,
    key: opt.CertificateKey = None,
    max_gb: opt.MaxGb = 5.0,
    run_gb: opt.RunGb = 4.0,
    run_seconds: opt.RunSeconds = 600.0,
) -> None:
    """Let other machines measure models on this one; localhost and a token unless told otherwise."""
    with _extra("agent"):
        from autocompress.benchmarking.agent.server import Settings, serve
    settings = Settings(
        host=host, port=port, folder=folder, token=os.environ.get(token_env), certificate=certificate, key=key,
        max_gb=max_gb, run_gb=run_gb, run_seconds=run_seconds,
    )  # fmt: skip
    serve(settings, terminal.note)


@command(app)
def list_(
    terminal: Terminal,
    kind: opt.Kind = None,
) -> None:
    """List what a study file can name, one line each, with what this machine supports."""
    from autocompress.actions.inventory import KINDS, inventory
    from autocompress.interfaces import rendering

    found = {name: inventory(name) for name in ([kind] if kind else KINDS)}
    document = {name: [entry.as_json() for entry in entries] for name, entries in found.items()}
    terminal.result(document, *rendering.inventory_lines(found))


@command(app)
def doctor(terminal: Terminal) -> None:
    """Say what this machine supports, what is missing, and what would help."""
    from autocompress.actions.doctor import examine
    from autocompress.interfaces import rendering

    findings = examine()
    terminal.result({"findings": [finding.as_json() for finding in findings]}, *rendering.finding_lines(findings))


@contextmanager
def _extra(command: str) -> Iterator[None]:
    """Say what to install where an import fails."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{command}: {error.name} is not installed; pip install 'autocompress[agent]'") from None


def _device(url: str | None, token_env: str, ca: Path | None) -> Device:
    """The device of that address, checked as a study file's is."""
    from pydantic import ValidationError

    from autocompress.config import Device

    try:
        return Device(url=url, token_env=token_env, ca=ca)
    except ValidationError:
        raise UsageError(f"--device: http://HOST:PORT or https://HOST:PORT is needed, but got {url!r}") from None

"""Commands that need no study: verify and measure an exported folder, serve as a device, list, doctor."""

from __future__ import annotations

import os
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
    """Check an exported folder: the hashes of its files, and the model's outputs on recorded inputs."""
    from autocompress.actions.verify import verify_folder
    from autocompress.interfaces import rendering

    verification = verify_folder(folder)
    terminal.result(verification.as_json(), rendering.verification_sentence(verification))
    if not verification.passed:
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
    """Measure latency, size and memory of an exported folder, on this machine or another device."""
    from autocompress.actions.measure_folder import measure_folder
    from autocompress.interfaces import rendering

    if device is None:
        terminal.note("measuring; other programs on this machine would falsify the result")
    settings = _device_settings(device, token_env, ca)
    measured = measure_folder(folder, reference, threads, batch, tokens, notify=terminal.note, device=settings)
    terminal.result(measured.as_json(), *rendering.measurement_sentences(measured))


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
    """Let other machines measure models on this one; by default on localhost, protected by a token."""
    try:
        from autocompress.benchmarking.agent.server import Settings, serve
    except ImportError as error:
        raise UsageError(f"agent: {error.name} is not installed; pip install 'autocompress[agent]'") from None
    settings = Settings(
        host=host, port=port, folder=folder, token=os.environ.get(token_env), certificate=certificate, key=key,
        max_gb=max_gb, run_gb=run_gb, run_seconds=run_seconds,
    )  # fmt: skip
    serve(settings, terminal.note)


@command(app)
def list_(terminal: Terminal, kind: opt.Kind = None) -> None:
    """List techniques, tasks, runtimes and all else that a study can use, and what this machine supports."""
    from autocompress.actions.inventory import KINDS, list_entries
    from autocompress.interfaces import rendering

    entries = {name: list_entries(name) for name in ([kind] if kind else KINDS)}
    document = {name: [entry.as_json() for entry in of_kind] for name, of_kind in entries.items()}
    terminal.result(document, *rendering.inventory_lines(entries))


@command(app)
def doctor(terminal: Terminal) -> None:
    """Report what this machine supports, what is missing, and what would help."""
    from autocompress.actions.doctor import examine_machine
    from autocompress.interfaces import rendering

    findings = examine_machine()
    terminal.result({"findings": [finding.as_json() for finding in findings]}, *rendering.finding_lines(findings))


def _device_settings(url: str | None, token_env: str, ca: Path | None) -> Device:
    """Return the device at that address, checked like a device of a study file."""
    from pydantic import ValidationError

    from autocompress.config import Device

    try:
        return Device(url=url, token_env=token_env, ca=ca)
    except ValidationError:
        raise UsageError(f"--device: {url!r} is not an address; write http://HOST:PORT or https://HOST:PORT") from None

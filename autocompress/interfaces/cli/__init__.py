"""The command line: each command parses, makes one call, and prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from autocompress.interfaces.cli import studies, tools
from autocompress.interfaces.cli._app import app
from autocompress.interfaces.terminal import run

__all__ = ["app", "main", "studies", "tools"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    return run(app, arguments)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from autocompress import __version__

        print(__version__)
        raise typer.Exit(0)

"""The command line: each command parses its options, makes one call, and prints the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from autocompress.interfaces.cli import managing, reading, searching, tools
from autocompress.interfaces.cli._app import app, order_commands
from autocompress.interfaces.terminal import run

__all__ = ["app", "main", "managing", "reading", "searching", "tools"]

order_commands(
    *("init", "search", "front", "trials", "pick", "compare", "report", "refresh", "reproduce"),
    *("export", "verify", "measure", "dashboard", "clean", "agent", "list", "doctor"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return run(app, arguments)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from autocompress import __version__

        print(__version__)
        raise typer.Exit(0)

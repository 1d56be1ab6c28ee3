"""The typer application that the commands are registered in."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Search for smaller, faster versions of a transformer model, deployed and measured on your device.",
    no_args_is_help=True,
    add_completion=False,
)
storage_app = typer.Typer(help="Maintain study databases.", no_args_is_help=True)
app.add_typer(storage_app, name="storage")


def order_commands(*names: str) -> None:
    """Set the order of the commands in `--help`, which otherwise follows the imports."""
    app.registered_commands.sort(key=lambda info: names.index(str(info.name)))

"""The program that commands are added to."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="From a fine-tuned encoder to a Pareto front of smaller, faster models of it, each deployed and measured.",
    no_args_is_help=True,
    add_completion=False,
)
storage_app = typer.Typer(help="Look after study databases.", no_args_is_help=True)
app.add_typer(storage_app, name="storage")

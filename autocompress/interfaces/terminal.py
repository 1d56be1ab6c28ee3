"""Run commands: results go to stdout, everything else to stderr, an error is one sentence and an exit code.

`command` gives every command the same options: -v, -q, --no-color, --debug, and --json where it prints results.
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from autocompress.core.errors import AutocompressError
from autocompress.interfaces.log_output import log_to

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

INTERRUPTED = 130
WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[1]  # the base of typer's usage errors; it exports only some

COMMON = {
    "json": Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")
    ],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Print more progress and the log.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors.")],
    "no_color": Annotated[bool, typer.Option("--no-color", help="Print without colours, like NO_COLOR=1.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")],
}


@dataclass(frozen=True)
class Terminal:
    """Prints a command's output; its options set how much."""

    json: bool = False
    verbose: bool = False
    quiet: bool = False
    no_color: bool = False
    debug: bool = False

    @cached_property
    def out(self) -> Console:
        """The console for results."""
        from autocompress.interfaces import rendering

        return rendering.console(no_color=self.no_color)

    @cached_property
    def err(self) -> Console:
        """The console for everything else."""
        from autocompress.interfaces import rendering

        return rendering.console(stderr=True, no_color=self.no_color)

    def result(self, document: Mapping[str, object], *parts: RenderableType) -> None:
        """Print the document with --json, else the parts; strings are printed as they are and never wrapped."""
        if self.json:
            print(json.dumps(finite(document), indent=2, ensure_ascii=False), flush=True)
            return
        for part in parts:
            plain = isinstance(part, str)
            self.out.print(part, markup=not plain, soft_wrap=plain)

    def note(self, text: str) -> None:
        """Print one line that is not a result, unless -q was given."""
        if not self.quiet:
            self.err.print(text, markup=False, soft_wrap=True)

    def log(self, text: str) -> None:
        """Print one line of the log."""
        self.err.print(text, markup=False, soft_wrap=True)

    def error(self, text: str) -> None:
        """Print one line about an error."""
        self.err.print(f"error: {text}", markup=False, soft_wrap=True)


def command(app: typer.Typer, *, prints_results: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function `f(terminal, **options)` as a command, with the common options and error handling.

    The function's name is the command's name.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        common = {name: kind for name, kind in COMMON.items() if prints_results or name != "json"}

        def run(**values: Any) -> None:
            terminal = Terminal(**{name: values.pop(name) for name in common})
            _run_guarded(lambda: function(terminal, **values), terminal)

        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())[1:]  # without the terminal
        specific = [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in common.items()
        ]
        run.__signature__ = inspect.Signature([*specific, *shared])  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*specific, *shared)}
        run.__doc__ = function.__doc__
        app.command(function.__name__.removesuffix("_"))(run)
        return function

    return register


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. SIGTERM ends a command like Ctrl-C."""
    _disable_telemetry()
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        typed = sys.argv[1:] if arguments is None else list(arguments)
        code = typer.main.get_command(app).main(typed, prog_name="autocompress", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except WRONG_USAGE as error:
        return _print_usage_error(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)


def finite(value: object) -> object:
    """Replace NaN and infinities, which JSON does not have, by null."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def command_line(arguments: Iterable[str | Path]) -> str:
    """Return a command of this program that works as printed from the current folder."""
    return shlex.join([*_program(), *map(str, arguments)])


def _program() -> list[str]:
    """Return how to call this program: by name if the shell finds this installation, else by path."""
    script = Path(sys.executable).with_name("autocompress")
    on_path = shutil.which("autocompress")
    if on_path and script.is_file() and script.samefile(on_path):
        return ["autocompress"]
    if script.is_file():
        return [_relative(script)]
    return [_relative(Path(sys.executable)), "-m", "autocompress"]


def _relative(path: Path) -> str:
    """Return a path below the current folder as a relative one."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _run_guarded(action: Callable[[], None], terminal: Terminal) -> None:
    """Run a command; turn an error into one sentence and an exit code."""
    try:
        with log_to(terminal.log, verbose=terminal.verbose, quiet=terminal.quiet):
            action()
    except (typer.Exit, WRONG_USAGE):
        raise
    except BrokenPipeError:  # the reader of stdout, perhaps `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        terminal.error("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # any error at all is one sentence for the user
        if terminal.debug:
            terminal.err.print_exception()
        known = isinstance(error, AutocompressError)
        sentence = _sentence(error)
        terminal.error(sentence if known else f"{type(error).__name__}: {sentence} (--debug prints the traceback)")
        raise typer.Exit(error.exit_code if isinstance(error, AutocompressError) else 1) from None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or "no message"


def _print_usage_error(error: Exception) -> int:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if not message:
        return 2
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context else ""
    is_help = "\n" in message  # no command was typed
    print(message if is_help else f"error: {message}{hint}", file=sys.stderr)
    return 2


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _disable_telemetry() -> None:
    """Disable the telemetry of the packages that this one depends on: no data leaves the machine."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DISABLE_TELEMETRY"):
        os.environ.setdefault(name, "1")

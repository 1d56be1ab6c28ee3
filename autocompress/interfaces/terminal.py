"""How a command speaks: results on stdout, all else on stderr, one sentence for an error, and its exit code.

`command` gives every command the same options: -v, -q, --json where it prints results, --no-color, --debug.
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

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

INTERRUPTED = 130
WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[1]  # the base of typer's usage errors; it exports only some

COMMON = {
    "json": Annotated[bool, typer.Option("--json", help="One JSON document on stdout, everything else on stderr.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say only results and errors.")],
    "no_color": Annotated[bool, typer.Option("--no-color", help="No colours; so does NO_COLOR=1.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
}


@dataclass(frozen=True)
class Terminal:
    """Where a command prints, and how much."""

    json: bool = False
    verbose: bool = False
    quiet: bool = False
    no_color: bool = False
    debug: bool = False

    @cached_property
    def out(self) -> Console:
        """For results."""
        from autocompress.interfaces import rendering

        return rendering.console(no_color=self.no_color)

    @cached_property
    def err(self) -> Console:
        """For everything else."""
        from autocompress.interfaces import rendering

        return rendering.console(stderr=True, no_color=self.no_color)

    def result(self, document: Mapping[str, Any], *parts: RenderableType) -> None:
        """Print the result: with --json the document, else the parts; plain texts as they are, never wrapped."""
        if self.json:
            print(json.dumps(finite(document), indent=2, ensure_ascii=False), flush=True)
            return
        for part in parts:
            plain = isinstance(part, str)
            self.out.print(part, markup=not plain, soft_wrap=plain)

    def note(self, text: str) -> None:
        """One line that is no result; not with -q."""
        if not self.quiet:
            self.err.print(text, markup=False, soft_wrap=True)

    def error(self, text: str) -> None:
        """One line about what went wrong."""
        self.err.print(f"error: {text}", markup=False, soft_wrap=True)


def command(app: typer.Typer, *, prints_results: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function `f(terminal, **options)` as a command of its name, with the common options and error handling."""

    def register(act: Callable[..., None]) -> Callable[..., None]:
        common = {name: kind for name, kind in COMMON.items() if prints_results or name != "json"}

        def run(**values: Any) -> None:
            terminal = Terminal(**{name: values.pop(name) for name in common})
            _guarded(lambda: act(terminal, **values), terminal)

        hints = get_type_hints(act, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in list(inspect.signature(act).parameters.values())[1:]]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in common.items()
        ]
        run.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *more)}
        run.__doc__ = act.__doc__
        app.command(act.__name__.removesuffix("_"))(run)
        return act

    return register


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. SIGTERM ends like Ctrl-C."""
    _no_telemetry()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        code = typer.main.get_command(app).main(given, prog_name="autocompress", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except WRONG_USAGE as error:
        return _wrong_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def finite(value: Any) -> Any:
    """JSON types without NaN and infinities, which JSON does not have: they are null."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def command_line(words: Iterable[str | Path]) -> str:
    """A command of this program that works exactly as printed, from the current folder."""
    return shlex.join([*_program(), *map(str, words)])


def _program() -> list[str]:
    """How to call this program here: by its name where the shell would find this very one, else by its path."""
    script = Path(sys.executable).with_name("autocompress")
    found = shutil.which("autocompress")
    if found and script.is_file() and script.samefile(found):
        return ["autocompress"]
    if script.is_file():
        return [_short(script)]
    return [_short(Path(sys.executable)), "-m", "autocompress"]


def _short(path: Path) -> str:
    """Relative where it lies below the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _guarded(act: Callable[[], None], terminal: Terminal) -> None:
    """Turn an error into one sentence and an exit code."""
    try:
        act()
    except (typer.Exit, WRONG_USAGE):
        raise
    except BrokenPipeError:  # the reader, `head` perhaps, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        terminal.error("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:  # whatever it is, a user gets one sentence
        if terminal.debug:
            terminal.err.print_exception()
        known = isinstance(error, AutocompressError)
        terminal.error(
            _sentence(error) if known else f"{type(error).__name__}: {_sentence(error)} (--debug shows where)"
        )
        raise typer.Exit(error.exit_code if isinstance(error, AutocompressError) else 1) from None


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or "no message"


def _wrong_usage(error: Exception) -> int:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if not message:
        return 2
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context else ""
    several = "\n" in message  # a help text: no command was given
    print(message if several else f"error: {message}{hint}", file=sys.stderr)
    return 2


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _no_telemetry() -> None:
    """Nobody's data leaves, not through what we depend on either."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DISABLE_TELEMETRY"):
        os.environ.setdefault(name, "1")

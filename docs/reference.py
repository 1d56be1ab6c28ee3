"""Reference pages, made from the code: every command with its options, every key of a study file, every field of a result."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from autocompress.config import HubData, StudyFile
from autocompress.config.plan import IDENTITY
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.cli import app

RECORDS = Path(__file__).parent.parent / "benchmarks" / "decisions.json"
EFFECT_MARK = "<!-- effect -->"


def pages() -> dict[str, str]:
    """Place in the site -> Markdown."""
    return {
        "reference/commands.md": commands_page(),
        "reference/study-file.md": study_file_page(),
        "reference/results.md": results_page(),
    }


# ---- commands ------------------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """Name (of a command in a group: `GROUP NAME`) -> click command."""
    found: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    groups = {name: group.commands for name, group in found.items() if hasattr(group, "commands")}
    inner = {f"{group} {name}": command for group, commands in groups.items() for name, command in commands.items()}
    return {name: command for name, command in found.items() if name not in groups} | inner


COMMON = {
    one.name: one for one in commands()["front"].params if one.name in ("json", "verbose", "quiet", "no_color", "debug")
}


def commands_page() -> str:
    """All commands, in the order of `--help`."""
    parts = [
        "# Commands",
        "`STUDY` is a study file, or the name of a study: `studies/NAME.yaml` where that exists, else the study of that "
        "name in `--storage`. Exit codes: 0 done; 1 failed, with one sentence; 2 wrong usage; 3 nothing "
        "satisfies the constraints; 130 interrupted, and resumable.",
    ]
    parts.append("Options of all commands (`--json`: of those that print results):\n\n" + _table(COMMON.values()))
    for name, command in commands().items():
        arguments = [one.metavar for one in command.params if one.param_type_name == "argument"]
        parts += [f"## {name}", f"`{' '.join(['autocompress', name, *arguments])}`", command.help]
        own = [one for one in command.params if one.name not in COMMON]
        parts += [_table(own)] * bool(own)
    return "\n\n".join(parts) + "\n"


def _table(options: Iterable[Any]) -> str:
    lines = ["| option | what it does | default |", "|---|---|---|"]
    for one in options:
        names = [one.metavar]
        if one.param_type_name == "option":
            value = "" if one.is_flag else f" {one.metavar or _kind(one.type_descriptor.annotation)}"
            names = [f"{name}{value}" for name in one.opts]
        default = "" if one.required or one.default in (None, False) else f"`{one.default}`"
        lines.append(f"| {', '.join(f'`{_cell(name)}`' for name in names)} | {_cell(one.help)} | {default} |")
    return "\n".join(lines)


def _kind(annotation: Any) -> str:
    """What an option takes, where it does not say so itself."""
    names = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}
    return names.get(annotation) or "|".join(map(str, get_args(annotation)))


# ---- the study file ------------------------------------------------------------------------------------------------


def keys(part: type[BaseModel] = StudyFile, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key path, kind, default and meaning of every key; a part before what is in it, the keys of a hub's data set once."""
    told, seen = docstrings(part), set[type[BaseModel]]()
    for name, field in part.model_fields.items():
        path, inner = f"{prefix}{name}", _parts(field.annotation)
        yield path, _type(field.annotation), _default(field), told.get(name, "")
        for one in inner if name != "devices" else ():
            if one not in seen or one is not HubData:
                yield from keys(one, f"{path}.")
        seen |= set(inner)


def docstrings(part: type[Any]) -> dict[str, str]:
    """What stands below each field of a class."""
    body = ast.parse(inspect.getsource(part)).body[0].body  # type: ignore[attr-defined]  # it is a class
    found = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = inspect.cleandoc(str(below.value.value)).replace("\n", " ")  # type: ignore[union-attr]
    return found


def study_file_page() -> str:
    """All keys of a study file."""
    parts = [
        "# The study file",
        "Only `teacher` and `task` are required. Paths, also inside sqlite URLs, are relative to the study file; `${VAR}` is "
        "expanded, and unset is an error. An unknown key, value, decision, file or column is one sentence that names the "
        "place and lists what there is, before any work starts. On resuming, these must be as they were: "
        f"{', '.join(f'`{key}`' for key in IDENTITY)}; all others may change.",
    ]
    groups: dict[str, list[tuple[str, str, str, str]]] = {}
    for path, kind, default, meaning in keys():
        groups.setdefault(path.split(".")[0] if "." in path else "", []).append((path, kind, default, meaning))
    for group, rows in groups.items():
        parts.append(f"## {group or 'Top level'}")
        lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{path}` | {_cell(kind)} | {f'`{default}`' if default else ''} | {_cell(meaning)} |"
            for path, kind, default, meaning in rows
        ]
        parts.append("\n".join(lines))
    parts.append("`devices.NAME` takes the keys of `device`.")
    return "\n\n".join(parts) + "\n"


def _parts(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for one in get_args(annotation) for part in _parts(one)]


def _leaves(annotation: Any) -> list[Any]:
    inner = list(get_args(annotation))
    return [leaf for one in inner for leaf in _leaves(one)] if inner else [annotation]


def _type(annotation: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    if get_origin(annotation) in (dict, list):
        return "mapping"
    leaves = [leaf for leaf in _leaves(annotation) if leaf not in (type(None), Ellipsis) and not _is_rule(leaf)]
    found = [names.get(leaf, "mapping" if isinstance(leaf, type) else f"`{leaf}`") for leaf in leaves]
    return " or ".join(dict.fromkeys(found))


def _is_rule(leaf: Any) -> bool:
    return not isinstance(leaf, type) and type(leaf).__module__.startswith("pydantic")


def _default(field: Any) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "" if field.default_factory is None else "{}"
    if isinstance(value, BaseModel) or value in (None, ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f"[{', '.join(value)}]"
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


# ---- results -------------------------------------------------------------------------------------------------------


def results_page() -> str:
    """The fields of a row of `--json`."""
    told = docstrings(TrialRow)
    lines = ["| field | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(told.get(name, ''))} |" for name in TrialRow.__dataclass_fields__]
    head = (
        "# Results as JSON\n\n`front --json` and `trials --json` print `{study, teacher: ROW, trials: [ROW, …], hypervolume, "
        "seconds, format_version}`; `pick --json` one ROW. A number is null until it is measured. The fields of a ROW:"
    )
    return head + "\n\n" + "\n".join(lines) + "\n"


# ---- what was measured of a decision -------------------------------------------------------------------------------


def effect(decision: str) -> str:
    """A table of what each value of a decision alone does to a teacher; written by `benchmarks/decisions.py`."""
    if not RECORDS.exists():
        return ""
    told = json.loads(RECORDS.read_text(encoding="utf-8"))
    found = [row for row in told["rows"] if row["decision"] == decision]
    rows, by_length = ([row for row in found if ("tokens" in row) is longer] for longer in (False, True))
    if not rows:
        return ""
    trained = rows[0]["trained"]
    untrained = " points lost untrained |" if trained else ""
    after = "after a short training" if trained else "(it needs no training)"
    lines = [f"| value | times as fast (95 %) | times smaller |{untrained} points lost {after} (95 %) |"]
    lines.append("|---|---|---|---|" + "---|" * trained)
    for row in rows:
        drop = row["drop_interval"]
        cells = [row["value"], _with_ends(row["speedup"], row["speedup_interval"]), f"{row['compression']:.2f}"]
        cells += [f"{100 * row['untrained_drop']:.1f}"] * trained
        cells.append(f"{100 * row['drop']:.1f} ({100 * drop[0]:.1f} … {100 * drop[1]:.1f})")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if by_length:
        lines += [
            "",
            "Untrained, in fp32, beside full attention of the same length in one process, whose interval it is:",
            "",
        ]
        lines += ["| value | tokens | times as fast (95 %) |", "|---|--:|---|"]
        for row in by_length:
            lines.append(
                f"| {row['value']} | {row['tokens']} | {_with_ends(row['speedup'], row['speedup_interval'])} |"
            )
    told_by = "Written by `benchmarks/decisions.py`."
    held = "Intervals of speed-ups hold what the teacher's own latency moved by meanwhile."
    return (
        f"## Measured\n\nThis decision alone, the others neutral. {told['conditions']} {held} {told_by}\n\n"
        + "\n".join(lines)
    )


def _with_ends(value: float, ends: Sequence[float]) -> str:
    return f"{value:.2f} ({ends[0]:.2f} … {ends[1]:.2f})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

"""Generate the reference pages from the code: every command and option, every key of a study file, every field of a result."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from autocompress.config import HubData, StudyFile
from autocompress.config.plan import IDENTITY
from autocompress.core.task_columns import load_declaration, task_names
from autocompress.core.technique import STAGES, TECHNIQUES, Technique, ordered_techniques
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.cli import app
from autocompress.metrics import METRICS, Metric
from autocompress.models.attentions import ATTENTIONS, Attention
from autocompress.models.blocks import BLOCKS
from autocompress.models.families import FAMILIES, Family
from autocompress.runtimes import RUNTIMES, Runtime
from autocompress.tasks import TASKS, Task

WRITTEN_PAGES = Path(__file__).parent / "pages" / "decisions"
RECORDS = Path(__file__).parent.parent / "benchmarks" / "decisions.json"
EFFECT_MARKER = "<!-- effect -->"
Record = Mapping[str, Any]  # a row of benchmarks/decisions.json


def build_pages() -> dict[str, str]:
    """Return the Markdown of each generated page, by its path in the site."""
    return {
        "reference/commands.md": render_commands(),
        "reference/study-file.md": render_study_file(),
        "reference/decisions.md": render_decisions(),
        "reference/entries.md": render_entries(),
        "reference/results.md": render_results(),
        **{
            f"decisions/{name}.md": render_decision(technique)
            for name, technique in ordered_techniques().items()
            if not (WRITTEN_PAGES / f"{name}.md").exists()
        },
    }


# ---- commands ------------------------------------------------------------------------------------------------------


def list_commands() -> dict[str, Any]:
    """Return the click command of each name; a command of a group has the name `GROUP NAME`."""
    top_level: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    groups = {name: group.commands for name, group in top_level.items() if hasattr(group, "commands")}
    inner = {f"{group} {name}": command for group, commands in groups.items() for name, command in commands.items()}
    return {name: command for name, command in top_level.items() if name not in groups} | inner


COMMON_OPTIONS = {
    option.name: option
    for option in list_commands()["front"].params
    if option.name in ("json", "verbose", "quiet", "no_color", "debug")
}


def render_commands() -> str:
    """Render all commands, in the order of `--help`."""
    parts = [
        "# Commands",
        "`STUDY` is a study file or the name of a study. A name stands for `studies/NAME.yaml` if that file exists, "
        "otherwise for the study of that name in `--storage`. Exit codes: 0 done; 1 failed, with one sentence; 2 wrong "
        "usage; 3 nothing satisfies the constraints; 130 interrupted, and resumable.",
        "Options of all commands (`--json`: only of those that print results):\n\n"
        + _render_options(COMMON_OPTIONS.values()),
    ]
    for name, command in list_commands().items():
        arguments = [parameter.metavar for parameter in command.params if parameter.param_type_name == "argument"]
        parts += [f"## {name}", f"`{' '.join(['autocompress', name, *arguments])}`", command.help]
        options = [parameter for parameter in command.params if parameter.name not in COMMON_OPTIONS]
        parts += [_render_options(options)] * bool(options)
    return "\n\n".join(parts) + "\n"


def _render_options(options: Iterable[Any]) -> str:
    lines = ["| option | what it does | default |", "|---|---|---|"]
    for option in options:
        names = [option.metavar]
        if option.param_type_name == "option":
            value = "" if option.is_flag else f" {option.metavar or _metavar_of(option.type_descriptor.annotation)}"
            names = [f"{name}{value}" for name in option.opts]
        default = "" if option.required or option.default in (None, False) else f"`{option.default}`"
        lines.append(f"| {', '.join(f'`{_cell(name)}`' for name in names)} | {_cell(option.help)} | {default} |")
    return "\n".join(lines)


def _metavar_of(annotation: Any) -> str:
    """Return the placeholder of an option's value, for options without a metavar."""
    names = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}
    return names.get(annotation) or "|".join(map(str, get_args(annotation)))


# ---- the study file ------------------------------------------------------------------------------------------------


def list_keys(section: type[BaseModel] = StudyFile, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield key path, type, default and meaning of every key.

    A section comes before its keys. The keys of a data set on the hub are listed once, though several keys take one.
    """
    meanings, seen = read_field_docs(section), set[type[BaseModel]]()
    for name, field in section.model_fields.items():
        path, inner = f"{prefix}{name}", _sections(field.annotation)
        yield path, _type(field.annotation), _default(field), meanings.get(name, "")
        for child in inner if name != "devices" else ():
            if child not in seen or child is not HubData:
                yield from list_keys(child, f"{path}.")
        seen |= set(inner)


def read_field_docs(owner: type[Any]) -> dict[str, str]:
    """Return the string below each field of a class."""
    body = ast.parse(inspect.getsource(owner)).body[0].body  # type: ignore[attr-defined]  # it is a class
    docs = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[field.target.id] = inspect.cleandoc(str(below.value.value)).replace("\n", " ")  # type: ignore[union-attr]
    return docs


def render_study_file() -> str:
    """Render all keys of a study file."""
    parts = [
        "# The study file",
        "Only `teacher` and `task` are required. Paths are relative to the study file, also inside sqlite URLs. `${VAR}` is "
        "expanded; an unset variable is an error. An unknown key, value, decision, file or column stops the command before "
        "any work starts, with one sentence that names the place and the available values. These keys must not change when "
        f"a study continues: {', '.join(f'`{key}`' for key in IDENTITY)}; all others may change.",
    ]
    groups: dict[str, list[tuple[str, str, str, str]]] = {}
    for path, kind, default, meaning in list_keys():
        groups.setdefault(path.split(".")[0] if "." in path else "", []).append((path, kind, default, meaning))
    for group, rows in groups.items():
        parts.append(f"## {group or 'Top level'}")
        lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{path}` | {_cell(kind)} | {f'`{default}`' if default else ''} | {_cell(meaning)} |"
            for path, kind, default, meaning in rows
        ]
        parts.append("\n".join(lines))
    parts += ["`devices.NAME` takes the keys of `device`.", "## Columns of each task", _render_columns()]
    return "\n\n".join(parts) + "\n"


def _render_columns() -> str:
    """Render the keys that `task.columns` may have, by task, and the usual metric."""
    lines = ["| task | key of `task.columns` | holds | default |", "|---|---|---|---|"]
    for name in task_names():
        for role, column in load_declaration(name).columns.items():
            default = f"`{column.default}`" if column.default else "required" if column.is_required else ""
            lines.append(f"| `{name}` | `{role}` | {column.holds} | {default} |")
    usual = ", ".join(f"`{load_declaration(name).default_metric}` for {name}" for name in task_names())
    return "\n".join(lines) + f"\n\nThe usual metrics: {usual}."


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _leaves(annotation: Any) -> list[Any]:
    arguments = list(get_args(annotation))
    return [leaf for argument in arguments for leaf in _leaves(argument)] if arguments else [annotation]


def _type(annotation: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    if get_origin(annotation) in (dict, list):
        return "mapping"
    leaves = [leaf for leaf in _leaves(annotation) if leaf not in (type(None), Ellipsis) and not _is_rule(leaf)]
    types = [names.get(leaf, "mapping" if isinstance(leaf, type) else f"`{leaf}`") for leaf in leaves]
    return " or ".join(dict.fromkeys(types))


def _is_rule(leaf: object) -> bool:
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


# ---- decisions -----------------------------------------------------------------------------------------------------


def render_decisions() -> str:
    """Render the table of all decisions, in the order of application."""
    lines = ["| decision | stage | values | neutral | what it does |", "|---|---|---|---|---|"]
    for name, technique in ordered_techniques().items():
        cells = [technique.stage, technique.domain.describe(), _neutral(technique), TECHNIQUES.summary(name)]
        lines.append(f"| `{name}` | {' | '.join(map(_cell, cells))} |")
    head = (
        "# Decisions in a space\n\nA space maps each decision to a list, a range `{low, high, step}` or one value; what it "
        f"leaves out is neutral. Decisions are applied stage by stage: {', '.join(STAGES)}. `initial:` lists recipes to try "
        "first: the nearest ones in the space are taken, and depths are fractions of the teacher's."
    )
    return head + "\n\n" + "\n".join(lines) + "\n"


def render_decision(technique: Technique) -> str:
    """Render the page of a decision from its file, for decisions without a page of their own."""
    text = inspect.getdoc(inspect.getmodule(type(technique))) or ""
    read = f"- applies by the value of: {', '.join(technique.reads)}" if technique.reads else ""
    facts = [
        f"- values: {technique.domain.describe()}",
        f"- neutral: {_neutral(technique)}",
        f"- stage: {technique.stage}",
        read,
    ]
    return f"# {technique.name}\n\n{text}\n\n" + "\n".join(filter(None, facts)) + f"\n\n{EFFECT_MARKER}\n"


def _neutral(technique: Technique) -> str:
    value = technique.neutral(None)
    return "as in the teacher" if value is None else f"`{value}`"


# ---- tasks, metrics, families, blocks, attentions, runtimes --------------------------------------------------------


def render_entries() -> str:
    """Render a table of the entries of each kind but techniques, which have a page of their own."""
    tables = {
        "Tasks": (["columns", "usual metric", "predictions"], TASKS, _task_cells),
        "Metrics": (["compares", "range", "best"], METRICS, _metric_cells),
        "Families": (["model types", "layers", "heads"], FAMILIES, _family_cells),
        "Blocks": ([], BLOCKS, lambda block: []),
        "Attentions": (["needs a window", "undefined with"], ATTENTIONS, _attention_cells),
        "Runtimes": (["package", "runs"], RUNTIMES, _runtime_cells),
    }
    parts = [
        "# Tasks, metrics, families, attentions, runtimes",
        "Each entry is a file, and its name is that of the file. How to add one: [a technique](../how-to/add-a-technique.md), "
        "[a task or a metric](../how-to/add-a-task.md), [a family, a block or an attention](../how-to/add-a-family.md), "
        "[a runtime, an executor or a store](../how-to/add-a-runtime.md).",
    ]
    for title, (head, entries, cells_of) in tables.items():
        lines = ["| " + " | ".join(["name", *head, "what it is"]) + " |", "|---" * (len(head) + 2) + "|"]
        for name in entries.names():
            written = name.replace("_", "-") if entries is TASKS else name
            cells = [f"`{written}`", *cells_of(entries.load(name)), entries.summary(name)]
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _task_cells(task: Task) -> list[str]:
    columns = [f"`{role}`" + ("" if column.is_required else " (optional)") for role, column in task.columns.items()]
    return [", ".join(columns), f"`{task.default_metric}`", task.predicts]


def _metric_cells(metric: Metric) -> list[str]:
    best = metric.highest if metric.higher_is_better else metric.lowest
    return [", ".join(metric.reads) or "anything", f"{metric.lowest:g} to {metric.highest:g}", f"{best:g}"]


def _family_cells(family: Family) -> list[str]:
    return [", ".join(f"`{name}`" for name in family.model_types), f"`{family.block}`", ", ".join(family.heads)]


def _attention_cells(attention: Attention) -> list[str]:
    return ["yes" if attention.needs_window else "no", ", ".join(attention.excludes)]


def _runtime_cells(runtime: Runtime) -> list[str]:
    program = runtime.target_format.program
    return [runtime.package, f"PyTorch programs on {program}" if program else "ONNX graphs"]


# ---- results -------------------------------------------------------------------------------------------------------


def render_results() -> str:
    """Render the fields of a row of `--json`."""
    meanings = read_field_docs(TrialRow)
    lines = ["| field | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meanings.get(name, ''))} |" for name in TrialRow.__dataclass_fields__]
    head = (
        "# Results as JSON\n\n`front --json` and `trials --json` print `{study, teacher: ROW, trials: [ROW, …], hypervolume, "
        "seconds, format_version}`; `pick --json` prints one ROW. A number is null until it is measured. The fields of a ROW:"
    )
    return head + "\n\n" + "\n".join(lines) + "\n"


# ---- measured effects of decisions ---------------------------------------------------------------------------------


def render_effect(decision: str) -> str:
    """Render the effect of each value of one decision on a teacher, as measured by `benchmarks/decisions.py`."""
    if not RECORDS.exists():
        return ""
    records = json.loads(RECORDS.read_text(encoding="utf-8"))
    matching = [row for row in records["rows"] if row["decision"] == decision]
    rows, by_length = ([row for row in matching if ("tokens" in row) is by_tokens] for by_tokens in (False, True))
    if not rows:
        return ""
    lines = _render_values(rows) + (_render_lengths(by_length) if by_length else [])
    return (
        "## Measured\n\nOnly this decision is changed; the others are neutral. "
        f"{records['conditions']} The intervals of speed-ups include the variation of the teacher's own latency during the "
        "measurements. Written by `benchmarks/decisions.py`.\n\n" + "\n".join(lines)
    )


def _render_values(rows: Sequence[Record]) -> list[str]:
    trained = rows[0]["trained"]
    untrained = " points lost untrained |" if trained else ""
    after = "after a short training" if trained else "(it needs no training)"
    lines = [f"| value | times as fast (95 %) | times smaller |{untrained} points lost {after} (95 %) |"]
    lines.append("|---|---|---|---|" + "---|" * trained)
    for row in rows:
        low, high = row["drop_interval"]
        cells = [row["value"], _with_interval(row["speedup"], row["speedup_interval"]), f"{row['compression']:.2f}"]
        cells += [f"{100 * row['untrained_drop']:.1f}"] * trained
        cells.append(f"{100 * row['drop']:.1f} ({100 * low:.1f} … {100 * high:.1f})")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _render_lengths(rows: Sequence[Record]) -> list[str]:
    speedups = [_with_interval(row["speedup"], row["speedup_interval"]) for row in rows]
    return [
        "",
        "Untrained, in fp32, compared with full attention at the same length in one process; the interval is of this process:",
        "",
        "| value | tokens | times as fast (95 %) |",
        "|---|--:|---|",
        *(f"| {row['value']} | {row['tokens']} | {cell} |" for row, cell in zip(rows, speedups, strict=True)),
    ]


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.2f} ({interval[0]:.2f} … {interval[1]:.2f})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

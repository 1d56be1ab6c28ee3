"""YAML, read strictly: a repeated key is an error (PyYAML lets the last one win), and 5e-5 is a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autocompress.core.errors import UsageError


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """The mapping in a YAML file; `kind` says in messages what the file should be, e.g. `study file`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such {kind}{_beside(path)}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a {kind} is needed, but this is a folder{_beside(path / 'any')}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the {kind} cannot be read: {error}") from None
    values = parse(text, path.name)
    if not isinstance(values, dict):
        raise UsageError(f"{path.name}: a {kind} is a mapping (`key: value` lines), but this is {_described(values)}")
    return values


def parse(text: str, place: str) -> Any:
    """The value of a YAML text; `place` begins the message of an error."""
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UsageError(f"{place}: {where}{error.problem or 'not valid YAML'}{_hint(error, text)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise UsageError(f"{place}: not valid YAML: {' '.join(str(error).split())}") from None


def value_at(values: Any, key_path: str) -> Any:
    """The value at `key.path` in nested mappings; null where there is none, the whole for an empty path."""
    for key in filter(None, key_path.split(".")):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice in one mapping; remove one of the two"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _hint(error: yaml.MarkedYAMLError, text: str) -> str:
    """What to do about the two mistakes that paths invite."""
    lines = text.splitlines()
    number = error.problem_mark.line if error.problem_mark else len(lines)
    if "alias" in (error.context or ""):
        return "; a text that begins with * or & needs quotes"
    return "; inside {…} a text with ${…} needs quotes" if number < len(lines) and "${" in lines[number] else ""


def _beside(path: Path) -> str:
    found = sorted(file.name for file in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    return f"; available: {', '.join(found[:12])}" if found else ""


def _described(value: Any) -> str:
    return "empty" if value is None else f"a {'list' if isinstance(value, list) else 'single value'}"

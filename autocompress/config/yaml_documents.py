"""Strict YAML: a repeated key is an error (PyYAML keeps the last one), and 5e-5 is a number."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json


def read_mapping(path: Path, kind: str) -> Json:
    """Return the mapping in a YAML file; `kind` is the name of such files in messages, e.g. `study file`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such {kind}{_list_yaml_files(path.parent)}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a {kind} is needed, but this is a folder{_list_yaml_files(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the {kind} cannot be read: {error}") from None
    values = parse(text, path.name)
    if not isinstance(values, dict):
        raise UsageError(
            f"{path.name}: a {kind} is a mapping (`key: value` lines), but this is {_describe_type(values)}"
        )
    return values


def parse(text: str, place: str) -> object:
    """Return the value of a YAML text; `place` begins the message of an error."""
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UsageError(f"{place}: {position}{error.problem or 'not valid YAML'}{_hint(error, text)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise UsageError(f"{place}: not valid YAML: {' '.join(str(error).split())}") from None


def value_at(values: Any, key_path: str) -> Any:
    """Return the value at `key.path` in nested mappings: null if there is none, `values` for an empty path."""
    for key in filter(None, key_path.split(".")):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} is repeated in one mapping; remove one of the two"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _hint(error: yaml.MarkedYAMLError, text: str) -> str:
    """Return how to fix two frequent mistakes in paths, or an empty text."""
    lines = text.splitlines()
    number = error.problem_mark.line if error.problem_mark else len(lines)
    if "alias" in (error.context or ""):
        return "; put quotes around a text that begins with * or &"
    return "; put quotes around a text with ${…} inside {…}" if number < len(lines) and "${" in lines[number] else ""


def _list_yaml_files(folder: Path) -> str:
    names = sorted(file.name for file in folder.glob("*.y*ml")) if folder.is_dir() else []
    return f"; available: {', '.join(names[:12])}" if names else ""


def _describe_type(value: object) -> str:
    return "empty" if value is None else f"a {'list' if isinstance(value, list) else 'single value'}"

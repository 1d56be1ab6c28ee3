"""What pydantic found, as one sentence: the place, the rule, the value and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

REMEDIES = {
    "teacher": "add `teacher: {model: A_FOLDER_OR_HUB_NAME}`",
    "task": "add `task: {data: {train: FILE}}`",
    "task.data": "add `data: {train: FILE}`",
}


def sentence(error: ValidationError, model: type[BaseModel], place: Callable[[str], str]) -> str:
    """The first error of a validation; `place` turns a key path into what the message begins with."""
    details = error.errors()[0]
    keys = [str(key) for key in details["loc"] if not str(key).startswith("<")]  # <…> are tags of a union
    return f"{place('.'.join(keys))}: {_rule(details, keys, model)}" if keys else f"{place('')}{details['msg']}"


def available(name: object, known: Sequence[str]) -> str:
    """`did you mean X? available: …` for a name that is not known."""
    folded = {other.casefold(): other for other in known}
    close = get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    guess = f" (did you mean {folded[close[0]]}?)" if close and len(known) > 1 else ""
    return f"{guess}; available: {', '.join(known) or 'none'}"


def _rule(details: ErrorDetails, keys: list[str], model: type[BaseModel]) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{available(keys[-1], sorted(_keys_at(model, keys[:-1])))}"
    if kind == "missing":
        return f"missing; {REMEDIES.get('.'.join(keys), f'add `{keys[-1]}: …`')}"
    if kind in BOUNDS:
        sign, name = BOUNDS[kind]
        return f"`{keys[-1]} {sign} {context[name]:g}` must hold, but got {value!r}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"unknown value {value!r}; available: {context['expected']}"
    pydantics = f"{details['msg'][:1].lower()}{details['msg'][1:]}"
    rule = next((rule for start, rule in RULES.items() if kind.startswith(start)), pydantics)
    return f"{rule}, but got {_shown(value)}"


BOUNDS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
RULES = {  # beginning of pydantic's error type -> what is needed
    "int_": "a whole number is needed",
    "float_": "a number is needed",
    "finite_number": "a finite number is needed",
    "string_type": "text is needed (put quotes around a number)",
    "string_pattern": "a name of letters, digits, spaces and . _ + - is needed, beginning with a letter or digit",
    "string_too_short": "a name is needed",
    "path_type": "a path is needed",
    "tuple_": "a list is needed",
    "too_short": "at least one entry is needed",
    "model_": "a mapping (`key: value` lines) is needed",
    "dict_type": "a mapping (`key: value` lines) is needed",
    "union_tag": "a path or a mapping is needed",
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _keys_at(model: type[BaseModel], keys: Sequence[str]) -> Mapping[str, Any]:
    for key in keys:
        field = model.model_fields.get(key)
        models = [part for part in _leaves(field.annotation) if _is_model(part)] if field else []
        if not models:
            break
        model = models[0]
    return model.model_fields


def _leaves(annotation: Any) -> list[Any]:
    """The plain types of a nested union or annotation."""
    inner = get_args(annotation)
    return [leaf for part in inner for leaf in _leaves(part)] if inner else [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)

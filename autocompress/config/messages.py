"""Validation errors as one sentence: the place, the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeGuard, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autocompress.core.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)
Place = Callable[[str], str]  # key path -> the beginning of a message

REMEDIES = {  # key path of a missing key -> the way out
    "teacher": "add `teacher: {model: A_FOLDER_OR_HUB_NAME}`",
    "task": "add `task: {data: {train: FILE}}`",
    "task.data": "add `data: {train: FILE}`",
}


def available(name: object, known: Sequence[str]) -> str:
    """Return `; did you mean 'X'? (available: …)`, or `; available: …`, for a name that is not in `known`."""
    folded = {known_name.casefold(): known_name for known_name in known}
    close = get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    names = ", ".join(known) or "none"
    if close and len(known) > 1:
        return f"; did you mean {folded[close[0]]!r}? (available: {names})"
    return f"; available: {names}"


def validate(model: type[Model], values: Mapping[str, object], place: Place) -> Model:
    """Return the values as a pydantic model; the first error becomes a UsageError of one sentence."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(_describe_error(error.errors()[0], model, place)) from None


def _describe_error(details: ErrorDetails, model: type[BaseModel], place: Place) -> str:
    keys = [str(key) for key in details["loc"] if not str(key).startswith("<")]  # <…> are tags of a union
    rule = _describe_rule(details, keys, model)
    return f"{place('.'.join(keys))}: {rule}" if keys else f"{place('')}{rule}"


def _describe_rule(details: ErrorDetails, keys: list[str], model: type[BaseModel]) -> str:
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
    default = f"{details['msg'][:1].lower()}{details['msg'][1:]}"
    rule = next((rule for start, rule in RULES.items() if kind.startswith(start)), default)
    return f"{rule}, but got {_shorten(value)}"


BOUNDS = {  # pydantic's error type -> sign, name of the limit in the error's context
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
RULES = {  # prefix of pydantic's error type -> what is needed
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


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _keys_at(model: type[BaseModel], keys: Sequence[str]) -> Mapping[str, object]:
    """Return the fields of the section at a key path; of all that may stand there, where there are several."""
    models = [model]
    for key in keys:
        fields = [inner.model_fields[key] for inner in models if key in inner.model_fields]
        below = [leaf for field in fields for leaf in _leaves(field.annotation) if _is_model(leaf)]
        if not below:
            break
        models = below
    return {name: field for inner in models for name, field in inner.model_fields.items()}


def _leaves(annotation: object) -> list[object]:
    """Return the plain types of a nested union or annotation."""
    arguments = get_args(annotation)
    return [leaf for argument in arguments for leaf in _leaves(argument)] if arguments else [annotation]


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)

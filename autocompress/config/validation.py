"""The base class of all sections of a study file, and the checks that several sections share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

Scalar = str | int | float | bool  # what a column can be compared with


class Section(BaseModel):
    """A mapping in the study file. Refuses unknown keys, infinite numbers, and booleans for keys of another type.

    A null (`budget:`) stands for the default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None}

    @field_validator("*", mode="before")
    @classmethod
    def _check_bool(cls, value: object, info: ValidationInfo) -> object:
        expects_bool = info.field_name is not None and cls.model_fields[info.field_name].annotation is bool
        if expects_bool and not isinstance(value, bool):
            raise ValueError(f"true or false is needed, but got {value!r}")  # pydantic collects ValueError only
        return value if expects_bool else refuse_bool(value)


def refuse_bool(value: object) -> object:
    """Return a value unchanged; ValueError for true and false, which YAML reads from `no`, `yes`, `on` and `off`, too."""
    if isinstance(value, bool):
        text = str(value).lower()
        raise ValueError(f"this key takes no true or false, but got {text}; if it is a name, put it in quotes")  # noqa: TRY004  # pydantic collects ValueError only
    return value


def name_keys(values: object) -> object:
    """Return a mapping whose keys are texts; YAML reads `3:` as a number. Other values are returned unchanged."""
    return {str(key): value for key, value in values.items()} if isinstance(values, Mapping) else values


def parse_duration(text: float | str) -> float:
    """Return `90`, `90s`, `30m` or `2h` in seconds."""
    if isinstance(text, (int, float)) and isfinite(text) and text >= 0:
        return float(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([smh]?)\s*", str(text))
    if not match:
        raise ValueError(f"a time like 90s, 30m or 2h is needed, but got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def check_filter(values: object) -> object:
    """Return a `where` filter unchanged if it compares every column with a single value, else raise ValueError."""
    for column, value in values.items() if isinstance(values, Mapping) else ():
        if not isinstance(value, (str, int, float, bool)) or (isinstance(value, float) and not isfinite(value)):
            raise ValueError(f"column {column} must equal one text, number or true/false, but got {value!r}")
    return values

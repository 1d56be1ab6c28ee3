"""What all parts of a study file share: how a mapping, a time and a filter are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

Scalar = str | int | float | bool  # what a column can be compared with


class Section(BaseModel):
    """A mapping of the study file: refuses unknown keys, infinities, and true or false where a key does not mean them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None}

    @field_validator("*", mode="before")
    @classmethod
    def _bool_where_meant(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = info.field_name is not None and cls.model_fields[info.field_name].annotation is bool
        if wanted and not isinstance(value, bool):
            raise ValueError(f"true or false is needed, but got {value!r}")  # pydantic collects ValueError only
        if isinstance(value, bool) and not wanted:
            shown = str(value).lower()
            raise ValueError(f"got {shown}, which fits no key here; put quotes around it if it is a name")
        return value


def seconds(text: float | str) -> float:
    """`90`, `90s`, `30m`, `2h` as seconds."""
    if isinstance(text, (int, float)) and isfinite(text) and text >= 0:
        return float(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([smh]?)\s*", str(text))
    if not match:
        raise ValueError(f"a time like 90s, 30m or 2h is needed, but got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def only_scalars(value: Any) -> Any:
    """`where` as it is, if every column is compared with one value."""
    for key, wanted in value.items() if isinstance(value, Mapping) else ():
        if not isinstance(wanted, (str, int, float, bool)) or (isinstance(wanted, float) and not isfinite(wanted)):
            raise ValueError(f"column {key} must equal one text, number or true/false, but got {wanted!r}")
    return value

"""A cached step of the work, and the key that its result is kept under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


def digest(value: Any) -> str:
    """Return the sha256 of the canonical JSON of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """One kind of result: what it depends on by itself, and the stages that it is made from.

    Its key is the sha256 of the canonical JSON of `inputs`: settings, version, and the key of every upstream stage under its
    kind. A stage whose code changes what it gives raises its `version`; so every key downstream changes with it.
    """

    kind: str
    version: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    made_from: Mapping[str, str] = field(default_factory=dict)  # kind of an upstream stage -> its key

    def __post_init__(self) -> None:
        if shared := ({*self.settings, *self.made_from} & {"version", "format"}) | (
            self.settings.keys() & self.made_from
        ):
            raise ValueError(f"stage {self.kind}: {sorted(shared)} cannot name both a setting and something else")

    @property
    def inputs(self) -> dict[str, Any]:
        """All that the result depends on, as plain values."""
        return {"version": self.version, **self.settings, **self.made_from}

    @cached_property
    def key(self) -> str:
        """The name of the result's folder."""
        return digest(self.inputs)


def upstream(*stages: Stage | None) -> dict[str, str]:
    """Return the `made_from` of a stage that is made from these; null ones are left out."""
    return {stage.kind: stage.key for stage in stages if stage is not None}

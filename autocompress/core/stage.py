"""A cached stage of the work, and the key of its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property


def digest(value: object) -> str:
    """Return the sha256 of the canonical JSON of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """The inputs of one result: its own settings, and the keys of the stages that it is made from.

    Its key is the sha256 of the canonical JSON of `inputs`: version, settings, and the key of every upstream stage under its
    kind. When a change of the code changes the result, raise `version`: all downstream keys change with it.
    """

    kind: str
    version: int
    settings: Mapping[str, object] = field(default_factory=dict)
    made_from: Mapping[str, str] = field(default_factory=dict)  # kind of an upstream stage -> its key

    def __post_init__(self) -> None:
        reserved = {*self.settings, *self.made_from} & {"version", "format"}
        repeated = self.settings.keys() & self.made_from
        if ambiguous := reserved | repeated:
            raise ValueError(f"stage {self.kind}: inputs need different names, but got {sorted(ambiguous)} twice")

    @property
    def inputs(self) -> dict[str, object]:
        """Everything that the result depends on, as plain values."""
        return {"version": self.version, **self.settings, **self.made_from}

    @cached_property
    def key(self) -> str:
        """The key of the result, which names its folder."""
        return digest(self.inputs)


def upstream(*stages: Stage | None) -> dict[str, str]:
    """Return `{kind: key}` of the given stages, for `made_from`; null stages are left out."""
    return {stage.kind: stage.key for stage in stages if stage is not None}

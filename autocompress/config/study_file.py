"""The content of a study file: its top-level keys, with their defaults and rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from autocompress.config.sections import (
    ArtifactSettings,
    Budget,
    Constraints,
    Device,
    Engine,
    Recovery,
    Task,
    Teacher,
)
from autocompress.config.validation import Section
from autocompress.core.json_types import Json

Objective = Literal["quality", "latency_ms", "size_mb"]
OBJECTIVES: tuple[Objective, ...] = ("quality", "latency_ms", "size_mb")
DeviceName = Annotated[str, Field(pattern=r"^\w[\w-]{0,31}$")]


class StudyFile(Section):
    """The keys of a study file as they are written: paths are not resolved, and optional keys may be absent."""

    study: str | None = Field(default=None, pattern=r"^\w[\w .+-]*$")
    """The study's name. If left out: the name of the file."""
    teacher: Teacher
    """The model that is compressed."""
    task: Task
    """What the model does, and on which rows."""
    device: Device = Device()
    """Where and how models are measured."""
    devices: dict[DeviceName, Device] = Field(default_factory=dict)
    """Several devices by name, instead of `device`; the search runs on the first."""
    space: str | Json = "encoder"
    """Which decisions are searched: `encoder`, `long_text`, `bits`, `quickstart`, or a mapping of decisions to a
    list, a range `{low, high, step}`, or a single value."""
    objectives: tuple[Objective, ...] = Field(default=OBJECTIVES, min_length=1)
    """The quantities that the front trades off."""
    constraints: Constraints = Constraints()
    """The limits that a model must satisfy to be picked."""
    budget: Budget = Budget()
    """When the search ends: at the limit that is reached first."""
    recovery: Recovery = Recovery()
    """How the super-net and each candidate are trained; lengths that are left out are fitted to the time budget."""
    engine: Engine = Engine()
    """Parts of the search engine that can be switched off."""
    start: Path | None = None
    """The folder of an earlier study's candidate, which `autocompress refresh` writes. The study measures that candidate as it
    is, trains it further and measures it again; it tries nothing else. Needs `engine: {supernet: false, refit: false}`."""
    storage: str | None = None
    """The database, an SQLAlchemy URL. If left out: `STUDY/study.db` beside the study file."""
    artifacts: ArtifactSettings = ArtifactSettings()
    """Where models are stored, and how much disk space they may take."""
    workers: int = Field(default=1, ge=1)
    """Number of trials that run in parallel, each with its share of the cores."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """The seed of everything that is drawn at random."""

    @model_validator(mode="before")
    @classmethod
    def _set_main_device(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        devices = values.get("devices")
        if not isinstance(devices, Mapping) or not devices:
            return values
        if "all" in devices:
            raise ValueError("devices.all: the name `all` means every device; choose another name")
        first = next(iter(devices.values()))
        if values.get("device") not in (None, {}, first):
            raise ValueError("device and devices cannot both be set; keep one of them")
        return {**values, "device": {} if first is None else first}

    @field_validator("space", mode="before")
    @classmethod
    def _check_space(cls, value: object) -> object:
        if not isinstance(value, (str, Mapping)):
            raise ValueError(  # noqa: TRY004  # pydantic collects ValueError only
                f"the name of a space or a mapping of decisions is needed, but got {value!r}"
            )
        return value

    @field_validator("objectives")
    @classmethod
    def _check_objectives(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each objective may be named only once, but got {', '.join(value)}")
        return value

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        engine = self.engine
        if self.start is not None and (engine.supernet or engine.refit or not engine.rungs):
            raise ValueError(
                "start: the candidate has weights of its own; write engine: {supernet: false, refit: false}, and keep rungs"
            )
        return self

    @property
    def by_key_path(self) -> dict[str, Device]:
        """All devices by their key paths; the main device first."""
        return {f"devices.{name}": device for name, device in self.devices.items()} or {"device": self.device}

    @property
    def main_device(self) -> str | None:
        """The name of the main device, on which the search runs; null where devices have no names."""
        return next(iter(self.devices), None)

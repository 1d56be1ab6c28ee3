"""Every key of a study file, its default and its rule. An empty value (`budget:`) stands for the default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from autocompress.plan.parts import Part, Scalar, only_scalars, seconds


class FineTune(Part):
    """How a pretrained model becomes the teacher."""

    epochs: float = Field(default=3, gt=0)
    learning_rate: float = Field(default=5e-5, gt=0)
    batch: int = Field(default=32, ge=1)


class Teacher(Part):
    """The model that is compressed; `fine_tune` is absent where it is already fit for the task."""

    model: str = Field(min_length=1)
    fine_tune: FineTune | None = None


class HubData(Part):
    """A data set of the hub."""

    path: str = Field(min_length=1)
    config: str | None = None
    revision: str | None = None
    split: str


def _source_kind(value: Any) -> str:
    return "<hub>" if isinstance(value, (Mapping, HubData)) else "<files>"


Source = Annotated[
    Annotated[str, Tag("<files>")] | Annotated[HubData, Tag("<hub>")],
    Discriminator(_source_kind),
]


class Data(Part):
    """Where the splits are; a split that is absent is cut from train."""

    train: Source
    validation: Source | None = None
    test: Source | None = None
    unlabelled: Source | None = None  # more texts, which only the teacher labels; their labels, if any, are not read
    where: Annotated[dict[str, Scalar], BeforeValidator(only_scalars)] = Field(default_factory=dict)  # column -> value
    max_train_rows: int | None = Field(default=None, ge=1)
    max_validation_rows: int | None = Field(default=None, ge=1)
    max_test_rows: int | None = Field(default=None, ge=1)
    max_unlabelled_rows: int | None = Field(default=None, ge=1)


class Columns(Part):
    """Which column is what."""

    text: str = "text"
    text_pair: str | None = None
    label: str = "label"

    @model_validator(mode="after")
    def _distinct(self) -> Columns:
        named = [name for name in (self.text, self.text_pair, self.label) if name is not None]
        if len(set(named)) < len(named):
            raise ValueError(f"each must name a column of its own, but got {', '.join(named)}")
        return self


class Task(Part):
    """What the model is for, on which rows, and how its quality is told."""

    kind: str = "text-classification"
    data: Data
    columns: Columns = Columns()
    metric: str = "accuracy"
    max_tokens: int = Field(default=128, ge=4)


class Device(Part):
    """Where and how artifacts run while they are measured."""

    runtime: str = "onnxruntime"
    threads: int = Field(default=1, ge=1)
    batch: int = Field(default=1, ge=1)
    tokens: int | Literal["data"] = 32
    url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+/?$")  # of the agent there; null: this machine
    token_env: str = "AUTOCOMPRESS_TOKEN"  # the variable that holds the agent's token
    ca: Path | None = None  # the certificate to trust, where it is one of your own
    patience: Annotated[float, BeforeValidator(seconds)] = 600.0  # seconds without an answer, after which it is lost

    @field_validator("tokens", mode="before")
    @classmethod
    def _tokens(cls, value: Any) -> Any:
        text = str(value)
        if text != "data" and not (text.isascii() and text.isdigit() and int(text) >= 2):
            raise ValueError(f"a whole number of at least 2 is needed, or data, but got {value!r}")
        return text if text == "data" else int(text)


class Constraints(Part):
    """What a model must hold to be picked."""

    max_drop: float | None = Field(default=None, ge=0)
    max_latency_ms: float | None = Field(default=None, gt=0)
    max_size_mb: float | None = Field(default=None, gt=0)


class Budget(Part):
    """When the search ends: whichever comes first."""

    trials: int | None = Field(default=None, ge=1)
    time: Annotated[float | None, BeforeValidator(lambda v: None if v is None else seconds(v))] = None  # seconds


class Artifacts(Part):
    """Where the models go, and how much room they may take."""

    path: Path | None = None  # default: STUDY/artifacts beside the study file
    max_gb: float = Field(default=10, gt=0)


class Recovery(Part):
    """How the super-net, and then each candidate, is distilled from the teacher (one setting for all trials)."""

    epochs: float = Field(default=6, ge=0)  # of a full recovery; in rows of train, whichever of the lessons they are
    short_epochs: float = Field(default=1.2, ge=0)  # of the short one before it
    learning_rate: float = Field(default=1.5e-4, gt=0)
    batch: int = Field(default=32, ge=1)
    temperature: float = Field(default=2.0, gt=0)
    label_weight: float = Field(default=0.1, ge=0)
    hidden_weight: float = Field(default=0.3, ge=0)
    copies: int = Field(default=6, ge=0)  # varied copies of each training row, which the teacher labels
    supernet_epochs: float = Field(default=6, gt=0)
    supernet_learning_rate: float = Field(default=3e-4, gt=0)

    def epochs_at(self, rung: int) -> float:
        """Epochs that a rung adds to the one below it."""
        return (0.0, self.short_epochs, self.epochs)[rung]


class Engine(Part):
    """The parts of the search engine. Each can be switched off, so that its worth can be shown."""

    refit: bool = True  # fit a candidate's matrices to the teacher's sums before it is trained
    supernet: bool = True  # train one super-net first, and cut candidates from it
    rungs: bool = True  # try candidates untrained, train the promising ones shortly, the best in full
    starters: bool = True  # try known good recipes and corners first
    reuse: bool = True  # one recovery serves every bit-width; what studies in the same folder made is used, too
    sampler: Literal["tpe", "gp", "nsga2", "random"] = "tpe"  # what proposes recipes
    latency_table: bool = True  # stop a candidate that is surely over max_latency_ms before it is built
    stop_early: bool = True  # end a search with a time budget once its hypervolume has stalled


LAST_RUNG = 2  # rung 0: cut and not trained; 1: trained shortly; 2: in full

Objective = Literal["quality", "latency_ms", "size_mb"]
DeviceName = Annotated[str, Field(pattern=r"^\w[\w-]{0,31}$")]
OBJECTIVES: tuple[Objective, ...] = ("quality", "latency_ms", "size_mb")
# what must be as stored when a study is resumed
IDENTITY = ("teacher", "task", "device", "devices", "objectives", "space", "seed")

REACHED = ("url", "token_env", "ca", "patience")  # how a device is reached: it may get another address


class StudyPlan(Part):
    """The whole study file. After `read_plan` paths are absolute and `space` is a mapping."""

    study: str = Field(pattern=r"^\w[\w .+-]*$")  # also the name of a folder
    teacher: Teacher
    task: Task
    device: Device = Device()
    devices: dict[DeviceName, Device] = Field(default_factory=dict)  # several; the first is `device`, and drives
    space: str | dict[str, Any] = "encoder"
    objectives: tuple[Objective, ...] = Field(default=OBJECTIVES, min_length=1)
    constraints: Constraints = Constraints()
    budget: Budget = Budget()
    recovery: Recovery = Recovery()
    engine: Engine = Engine()
    storage: str = ""
    artifacts: Artifacts = Artifacts()
    workers: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)

    _file: str = PrivateAttr("study file")  # its name, for messages
    _given: frozenset[str] = PrivateAttr(frozenset())  # keys of `recovery` that the study file sets
    _written: dict[str, str] = PrivateAttr(default_factory=dict)  # key path -> a path as it stands in the file

    @model_validator(mode="before")
    @classmethod
    def _first_device(cls, values: Any) -> Any:
        devices = values.get("devices") if isinstance(values, Mapping) else None
        if not isinstance(devices, Mapping) or not devices:
            return values
        if "all" in devices:
            raise ValueError("devices.all: all means every device; choose another name")
        first = next(iter(devices.values()))
        if values.get("device") not in (None, {}, first):
            raise ValueError(
                "device and devices are both given; name one device, or several, of which the first drives"
            )
        return {**values, "device": {} if first is None else first}

    @field_validator("space", mode="before")
    @classmethod
    def _space(cls, value: Any) -> Any:
        if not isinstance(value, (str, Mapping)):
            raise ValueError(  # noqa: TRY004  # pydantic collects ValueError only
                f"the name of a space or a mapping of decisions is needed, but got {value!r}"
            )
        return value

    @field_validator("objectives")
    @classmethod
    def _objectives(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each objective counts once, but got {', '.join(value)}")
        return value

    @property
    def given_recovery(self) -> frozenset[str]:
        """The keys of `recovery` that the study file sets: they are never fitted to the budget."""
        return self._given

    @property
    def by_key_path(self) -> dict[str, Device]:
        """All devices, each by its key path; the one that drives the search first."""
        return {f"devices.{name}": device for name, device in self.devices.items()} or {"device": self.device}

    @property
    def others(self) -> dict[str, Device]:
        """The devices that are measured, too, besides the one that drives the search."""
        return dict(list(self.devices.items())[1:])

    @property
    def main_device(self) -> str | None:
        """The name of the device that drives the search, where devices have names."""
        return next(iter(self.devices), None)

    def place(self, key_path: str) -> str:
        """Where a key stands, for messages: `sst2.yaml: task.data.train`."""
        return f"{self._file}: {key_path}"

    def identity(self) -> dict[str, Any]:
        """The parts that must be as stored when a study is resumed, as plain JSON types.

        Paths stand here as written in the file (`${DATA}/train.parquet`, `./teacher`), so that a study goes on after it
        moved to another folder or machine. What lies behind them is not part of the plan: compare the fingerprints of
        data and teacher too.
        """
        values = self.model_dump(mode="json", include=set(IDENTITY))
        for device in (values["device"], *values["devices"].values()):
            for key in REACHED:
                del device[key]
        for key_path, text in self._written.items():
            *parents, last = key_path.split(".")
            part = values
            for key in parents:
                part = part[key]
            part[last] = text
        normal: dict[str, Any] = json.loads(json.dumps(values))
        return normal

    def difference(self, stored: Mapping[str, Any]) -> list[str]:
        """Key paths of `identity()` that are not as stored. A key the store has never heard of differs if it is set."""
        return _different(self.identity(), stored)


def _different(mine: Any, stored: Any, key_path: str = "") -> list[str]:
    if isinstance(mine, Mapping) and isinstance(stored, Mapping):
        found = []
        for key in [*mine, *(key for key in stored if key not in mine)]:
            found += _different(mine.get(key), stored.get(key), f"{key_path}.{key}" if key_path else str(key))
        return found
    return [] if mine == stored or (_unset(mine) and _unset(stored)) else [key_path]


def _unset(value: Any) -> bool:
    return value is None or value in ("", {}, [])

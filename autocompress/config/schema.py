"""Every key of a study file, its default and its rule. An empty value (`budget:`) stands for the default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from autocompress.config.section import Scalar, Section, only_scalars, seconds


class FineTune(Section):
    """How a pretrained model becomes the teacher."""

    epochs: float = Field(default=3, gt=0)
    """Passes over the training rows."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Of AdamW, at its highest."""
    batch: int = Field(default=32, ge=1)
    """Rows a step."""


class Teacher(Section):
    """The model that is compressed; `fine_tune` is absent where it is already fit for the task."""

    model: str = Field(min_length=1)
    """A transformers folder (an existing one wins; `./x` is never a hub name), a hub name, or
    `package:IMPORT_NAME/SUBFOLDER`."""
    fine_tune: FineTune | None = None
    """How a pretrained model learns the task first; leave it out if it already does it."""


class HubData(Section):
    """A data set of the hub."""

    path: str = Field(min_length=1)
    """Its name on the hub."""
    config: str | None = None
    """Its configuration, where it has several."""
    revision: str | None = None
    """A commit, branch or tag."""
    split: str
    """Which split of it."""


def _source_kind(value: Any) -> str:
    return "<hub>" if isinstance(value, (Mapping, HubData)) else "<files>"


Source = Annotated[
    Annotated[str, Tag("<files>")] | Annotated[HubData, Tag("<hub>")],
    Discriminator(_source_kind),
]


class Data(Section):
    """Where the splits are; a split that is absent is cut from train."""

    train: Source
    """Rows to learn from: parquet, csv, json or jsonl; globs; a folder; `package:IMPORT_NAME/FILE`; or a mapping
    for the hub."""
    validation: Source | None = None
    """Rows that choose among models; left out: cut from train (10 %, at least 200 and at most 2,000 rows,
    stratified, seeded)."""
    test: Source | None = None
    """Rows that no search sees, for the numbers at the end; left out: likewise."""
    unlabelled: Source | None = None
    """Further texts of the kind, which only the teacher labels; their labels, if any, are not read."""
    where: Annotated[dict[str, Scalar], BeforeValidator(only_scalars)] = Field(default_factory=dict)
    """Only rows with these values: column → value."""
    max_train_rows: int | None = Field(default=None, ge=1)
    """At most so many rows of train: a seeded, stratified sample."""
    max_validation_rows: int | None = Field(default=None, ge=1)
    """Likewise of validation."""
    max_test_rows: int | None = Field(default=None, ge=1)
    """Likewise of test."""
    max_unlabelled_rows: int | None = Field(default=None, ge=1)
    """Likewise of the unlabelled texts."""


class Columns(Section):
    """Which column is what."""

    text: str = "text"
    """The column of the text."""
    text_pair: str | None = None
    """The column of the second text, where rows are pairs."""
    label: str = "label"
    """The column of the label."""

    @model_validator(mode="after")
    def _distinct(self) -> Columns:
        named = [name for name in (self.text, self.text_pair, self.label) if name is not None]
        if len(set(named)) < len(named):
            raise ValueError(f"each must name a column of its own, but got {', '.join(named)}")
        return self


class Task(Section):
    """What the model is for, on which rows, and how its quality is told."""

    kind: str = "text-classification"
    """What the model does, under the name of transformers' pipeline."""
    data: Data
    """The rows."""
    columns: Columns = Columns()
    """Which column is what."""
    metric: str = "accuracy"
    """How quality is told: `accuracy`, `f1`, `matthews_correlation`, a folder with a metric of `evaluate`, or
    (with `--trust-remote-code`) a hub name."""
    max_tokens: int = Field(default=128, ge=4)
    """Longer texts are cut to so many tokens."""


class Device(Section):
    """Where and how artifacts run while they are measured."""

    runtime: str = "onnxruntime"
    """What runs the model: see `autocompress list runtimes`."""
    threads: int = Field(default=1, ge=1)
    """Threads of the runtime."""
    batch: int = Field(default=1, ge=1)
    """Texts at a time while latency is measured."""
    tokens: int | Literal["data"] = 32
    """Tokens a text while latency is measured; `data`: as long as the validation rows."""
    url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+/?$")
    """Address of the agent on another machine; left out: this machine."""
    token_env: str = "AUTOCOMPRESS_TOKEN"
    """The environment variable that holds the agent's token."""
    ca: Path | None = None
    """The certificate to trust, where it is one of your own."""
    patience: Annotated[float, BeforeValidator(seconds)] = 600.0
    """Time without an answer after which a device is taken for lost, as in `10m`."""

    @field_validator("tokens", mode="before")
    @classmethod
    def _tokens(cls, value: Any) -> Any:
        text = str(value)
        if text != "data" and not (text.isascii() and text.isdigit() and int(text) >= 2):
            raise ValueError(f"a whole number of at least 2 is needed, or data, but got {value!r}")
        return text if text == "data" else int(text)


class Constraints(Section):
    """What a model must hold to be picked."""

    max_drop: float | None = Field(default=None, ge=0)
    """Most quality to lose against the teacher, as a fraction: 0.01 is 1 point."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Longest latency, in ms."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Largest model, in MB of 10⁶ bytes."""


class Budget(Section):
    """When the search ends: whichever comes first."""

    trials: int | None = Field(default=None, ge=1)
    """Trials in all, over all runs; the teacher, reused twins and retries do not count."""
    time: Annotated[float | None, BeforeValidator(lambda v: None if v is None else seconds(v))] = None
    """Time in all, over all runs, as in `90s`, `30m`, `2h`; training is fitted to it."""


class Artifacts(Section):
    """Where the models go, and how much room they may take."""

    path: Path | None = None
    """The folder; left out: `STUDY/artifacts` beside the study file."""
    max_gb: float = Field(default=10, gt=0)
    """Room they may take; models on the front always stay."""


class Recovery(Section):
    """How the super-net, and then each candidate, is distilled from the teacher (one setting for all trials)."""

    epochs: float = Field(default=6, ge=0)
    """Of a full recovery: passes over as many rows as train has, whichever of the lessons they are."""
    short_epochs: float = Field(default=1.2, ge=0)
    """Of the short one before it."""
    learning_rate: float = Field(default=1.5e-4, gt=0)
    """Of a candidate's training."""
    batch: int = Field(default=32, ge=1)
    """Rows a step."""
    temperature: float = Field(default=2.0, gt=0)
    """Of the distillation (Hinton et al. 2015): both models' logits are divided by it."""
    label_weight: float = Field(default=0.1, ge=0)
    """Weight of the labels beside the teacher's answers."""
    hidden_weight: float = Field(default=0.3, ge=0)
    """Weight of the teacher's hidden states."""
    copies: int = Field(default=6, ge=0)
    """Varied copies of each training row, which the teacher labels."""
    supernet_epochs: float = Field(default=6, gt=0)
    """Of the super-net's training."""
    supernet_learning_rate: float = Field(default=3e-4, gt=0)
    """Of the super-net's training."""

    def epochs_at(self, rung: int) -> float:
        """Epochs that a rung adds to the one below it."""
        return (0.0, self.short_epochs, self.epochs)[rung]


class Engine(Section):
    """The parts of the search engine. Each can be switched off, so that its worth can be shown."""

    refit: bool = True
    """Fit a candidate's matrices to the teacher's sums by least squares before it is trained."""
    supernet: bool = True
    """Train one super-net first, and cut candidates from it."""
    rungs: bool = True
    """Try candidates untrained, train the promising ones shortly, the best in full."""
    starters: bool = True
    """Try known good recipes, corners, and what earlier studies of this teacher found, first."""
    reuse: bool = True
    """One recovery serves every bit-width; what studies in the same folder made is used, too."""
    sampler: Literal["tpe", "gp", "nsga2", "random"] = "tpe"
    """What proposes recipes."""
    latency_table: bool = True
    """Stop a candidate that is surely over `max_latency_ms` before it is built."""
    stop_early: bool = True
    """End a search with a time budget once its hypervolume has stalled."""


LAST_RUNG = 2  # rung 0: cut and not trained; 1: trained shortly; 2: in full

Objective = Literal["quality", "latency_ms", "size_mb"]
DeviceName = Annotated[str, Field(pattern=r"^\w[\w-]{0,31}$")]
OBJECTIVES: tuple[Objective, ...] = ("quality", "latency_ms", "size_mb")
# what must be as stored when a study is resumed
IDENTITY = ("teacher", "task", "device", "devices", "objectives", "space", "seed")

REACHED = ("url", "token_env", "ca", "patience")  # how a device is reached: it may get another address


class StudyPlan(Section):
    """The whole study file. After `read_plan` paths are absolute and `space` is a mapping."""

    study: str = Field(pattern=r"^\w[\w .+-]*$")
    """Its name; left out: the file's."""
    teacher: Teacher
    """The model that is compressed."""
    task: Task
    """What it is for, and on which rows."""
    device: Device = Device()
    """Where and how models are measured."""
    devices: dict[DeviceName, Device] = Field(default_factory=dict)
    """Several, by name, in the place of `device`; the first drives the search."""
    space: str | dict[str, Any] = "encoder"
    """Which decisions are searched: `encoder`, `long_text`, `bits`, `quickstart`, or a mapping of decisions to a
    list, a range `{low, high, step}`, or one value."""
    objectives: tuple[Objective, ...] = Field(default=OBJECTIVES, min_length=1)
    """What a front is of."""
    constraints: Constraints = Constraints()
    """What a model must hold to be picked."""
    budget: Budget = Budget()
    """When the search ends: whichever comes first."""
    recovery: Recovery = Recovery()
    """How the super-net and each candidate are trained; what is left out is fitted to the time."""
    engine: Engine = Engine()
    """Parts of the search engine that can be switched off."""
    storage: str = ""
    """The database, an SQLAlchemy URL; left out: `STUDY/study.db` beside the study file."""
    artifacts: Artifacts = Artifacts()
    """Where the models go, and how much room they may take."""
    workers: int = Field(default=1, ge=1)
    """Trials side by side, each with its share of the cores."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of everything that is drawn."""

    _file: str = PrivateAttr("study file")  # its name, for messages
    _given: frozenset[str] = PrivateAttr(frozenset())  # keys of `recovery` that the study file sets
    _written: dict[str, str] = PrivateAttr(default_factory=dict)  # key path -> a path as it stands in the file
    _named_space: bool = PrivateAttr(False)  # whether the file names a space that travels with the package

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

    def as_stored(self, stored: Mapping[str, Any] | None) -> StudyPlan:
        """The plan with which a study goes on: a packaged space is what its name meant when the study was begun."""
        if not self._named_space or stored is None or not isinstance(stored.get("space"), dict):
            return self
        return self.model_copy(update={"space": stored["space"]})

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
        """Key paths of `identity()`, and of the recovery, which changes every result, that are not as stored.

        A key the store has never heard of differs if it is set; one of the recovery does not.
        """
        mine, before = self.identity(), stored.get("recovery", {})
        recovery = self.recovery.model_dump(mode="json")
        trained = [f"recovery.{key}" for key in recovery if key in before and recovery[key] != before[key]]
        return [*_different(mine, {key: stored.get(key) for key in mine}), *trained]


def _different(mine: Any, stored: Any, key_path: str = "") -> list[str]:
    if isinstance(mine, Mapping) and isinstance(stored, Mapping):
        found = []
        for key in [*mine, *(key for key in stored if key not in mine)]:
            found += _different(mine.get(key), stored.get(key), f"{key_path}.{key}" if key_path else str(key))
        return found
    return [] if mine == stored or (_unset(mine) and _unset(stored)) else [key_path]


def _unset(value: Any) -> bool:
    return value is None or value in ("", {}, [])

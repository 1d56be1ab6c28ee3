"""The sections of a study file, each with its keys, their defaults and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from autocompress.config.validation import Scalar, Section, check_filter, name_keys, parse_duration, refuse_bool
from autocompress.core.task_columns import DEFAULT_TASK

OptionalDuration = Annotated[float | None, BeforeValidator(lambda text: None if text is None else parse_duration(text))]
LAST_RUNG = 2  # rung 0: sliced and not trained; 1: trained shortly; 2: trained in full


class FineTune(Section):
    """How a pretrained model is fine-tuned into the teacher."""

    epochs: float = Field(default=3, gt=0)
    """Passes over the training rows."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate of AdamW."""
    batch: int = Field(default=32, ge=1)
    """Rows per step."""
    warmup: float | None = Field(default=None, ge=0, lt=1)
    """The fraction of the steps in which the learning rate rises, before it falls to zero. If left out: 0.06."""
    silver_pairs: int | None = Field(default=None, ge=1)
    """Pairs of the study's texts, rated by the cosine similarity of the model's own embeddings, that it learns once before the
    labels. For numbers that compare two texts, and a model of sentence-transformers."""
    linear_probe_rows: int | None = Field(default=None, ge=1)
    """Rows of train that the new classifier is fitted to before anything is trained: a linear probe, in seconds. For texts with
    one label each."""


class AutoFineTune(Section):
    """A short search for epochs, learning rate, batch and warm-up of fine-tuning, on rows cut from train. `fine_tune: auto` is
    short for it."""

    auto: bool = True
    """Search the settings."""
    time: OptionalDuration = None
    """Time for the search and the fine-tuning together, e.g. `5m`. If left out: a quarter of `budget.time`; without a
    `budget.time` there is no limit."""
    silver_pairs: int | None = Field(default=None, ge=1)
    """As with given settings."""
    linear_probe_rows: int | None = Field(default=None, ge=0)
    """As with given settings, at most; fewer where time is short, 0: none. If left out: 20,000 for texts with one label each; a
    study that began without stays so."""

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: object) -> object:
        given = [
            key
            for key in ("epochs", "learning_rate", "batch", "warmup")
            if isinstance(values, Mapping) and key in values
        ]
        if given:
            raise ValueError(f"`auto` chooses {given[0]} itself; leave out {given[0]}, or auto")
        return values

    @field_validator("auto")
    @classmethod
    def _check_auto(cls, value: bool) -> bool:
        if not value:
            raise ValueError("only true is possible; to give the settings yourself, leave out auto")
        return value


def _read_fine_tune(value: object) -> object:
    if isinstance(value, str) and value != "auto":
        raise ValueError(f"auto or a mapping such as {{epochs: 3, learning_rate: 5.0e-5}} is needed, but got {value!r}")
    return {"auto": True} if value == "auto" else value


def _fine_tune_kind(value: object) -> str:
    is_auto = isinstance(value, AutoFineTune) or (isinstance(value, Mapping) and value.get("auto") is not None)
    return "<auto>" if is_auto else "<given>"


FineTuning = Annotated[
    Annotated[FineTune, Tag("<given>")] | Annotated[AutoFineTune, Tag("<auto>")], Discriminator(_fine_tune_kind)
]


class Teacher(Section):
    """The model that is compressed."""

    model: str = Field(min_length=1)
    """A transformers folder (an existing one takes precedence; `./x` is never a hub name), a hub name, or
    `package:IMPORT_NAME/SUBFOLDER`."""
    fine_tune: Annotated[FineTuning | None, BeforeValidator(_read_fine_tune)] = None
    """How a pretrained model is fine-tuned first: `auto`, or a mapping of settings. If left out: `auto` where the model does
    not do the task yet, else the model is used as it is."""
    improve: bool = False
    """Whether a search that finds fault with the teacher goes on with a study of its own, NAME-2, whose teacher is fine-tuned
    better."""


class HubData(Section):
    """A split of a data set on the hub."""

    path: str = Field(min_length=1)
    """The data set's name on the hub."""
    config: str | None = None
    """The data set's configuration, if it has several."""
    revision: str | None = None
    """A commit, branch or tag."""
    split: str
    """The split to read."""


def _source_kind(value: object) -> str:
    return "<hub>" if isinstance(value, (Mapping, HubData)) else "<files>"


Source = Annotated[
    Annotated[str, Tag("<files>")] | Annotated[HubData, Tag("<hub>")],
    Discriminator(_source_kind),
]


class Data(Section):
    """The files or data sets of the splits. An absent validation or test split is cut from train."""

    train: Source
    """Rows to train on: a parquet, csv, json or jsonl file; a glob; a folder; `package:IMPORT_NAME/FILE`; or a mapping
    for a data set on the hub."""
    validation: Source | None = None
    """Rows that select among models. If left out, they are cut from train (10 %, at least 200 and at most 2,000 rows,
    stratified, seeded)."""
    test: Source | None = None
    """Rows for the reported quality; the search never reads them. If left out, they are cut from train in the same
    way."""
    unlabelled: Source | None = None
    """Additional texts of the same kind, labelled by the teacher only; labels in the file are not read."""
    unlabelled_columns: list[str] | None = Field(default=None, min_length=1)
    """The columns of `unlabelled` that hold texts, where they are not those of the rows: of each file, all of them that it
    has. For tasks that read one text; `where` does not filter them."""
    where: Annotated[dict[str, Scalar], BeforeValidator(check_filter)] = Field(default_factory=dict)
    """Keep only rows with these values: column → value."""
    max_train_rows: int | None = Field(default=None, ge=1)
    """The largest number of train rows; more are reduced to a seeded, stratified sample."""
    max_validation_rows: int | None = Field(default=None, ge=1)
    """The same for validation."""
    max_test_rows: int | None = Field(default=None, ge=1)
    """The same for test."""
    max_unlabelled_rows: int | None = Field(default=None, ge=1)
    """The same for the unlabelled texts."""
    max_agreement_rows: int | None = Field(default=None, ge=0)
    """The largest number of texts that no model learns from, on which candidates are compared with the teacher: rows that
    `max_train_rows` left over, else half of the unlabelled texts, else a tenth of train. If left out: 4,000; 0: none."""


ColumnName = Annotated[str | None, BeforeValidator(refuse_bool)]


class Task(Section):
    """What the model does, on which rows, and how its quality is measured."""

    kind: str = DEFAULT_TASK
    """The task, under the name of transformers' pipeline."""
    data: Data
    """The files or data sets that hold the rows."""
    columns: Annotated[dict[str, ColumnName], BeforeValidator(name_keys)] = Field(default_factory=dict)
    """The names of the columns by their roles, which the task names: for texts `text`, `text_pair` (if rows are pairs of
    texts) and `label`."""
    metric: str = "accuracy"
    """The metric of quality: one that `autocompress list metrics` names and that fits the task, a folder with a metric of
    `evaluate`, or (with `--trust-remote-code`) a hub name. If left out: the usual one of the task, e.g.
    `accuracy` for text-classification."""
    max_tokens: int = Field(default=128, ge=4)
    """Longer texts are truncated to this many tokens."""


class Device(Section):
    """Where and how artifacts are measured."""

    runtime: str = "onnxruntime"
    """The runtime that runs the model: see `autocompress list runtimes`."""
    threads: int = Field(default=1, ge=1)
    """Number of threads of the runtime."""
    batch: int = Field(default=1, ge=1)
    """Texts per call when latency is measured."""
    tokens: int | Literal["data"] = 32
    """Tokens per text when latency is measured; `data`: the lengths of the validation rows."""
    url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+/?$")
    """Address of the agent on another machine. If left out, this machine measures."""
    token_env: str = "AUTOCOMPRESS_TOKEN"
    """The environment variable that holds the agent's token."""
    ca: Path | None = None
    """The certificate to trust, if it is self-signed."""
    patience: Annotated[float, BeforeValidator(parse_duration)] = 600.0
    """Time without an answer after which a device counts as lost, e.g. `10m`."""

    @field_validator("tokens", mode="before")
    @classmethod
    def _check_tokens(cls, value: object) -> object:
        text = str(value)
        if text != "data" and not (text.isascii() and text.isdigit() and int(text) >= 2):
            raise ValueError(f"a whole number of at least 2 is needed, or data, but got {value!r}")
        return text if text == "data" else int(text)


class Constraints(Section):
    """The limits that a model must satisfy to be picked."""

    max_drop: float | None = Field(default=None, ge=0)
    """Largest loss of quality against the teacher, as a fraction: 0.01 is 1 point."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Largest latency, in ms."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Largest size of the model, in MB of 10⁶ bytes."""
    max_download_mb: float | None = Field(default=None, gt=0)
    """Largest size of all files that inference needs, the tokenizer included, in MB of 10⁶ bytes."""


class Budget(Section):
    """When the search ends: at the limit that is reached first."""

    trials: int | None = Field(default=None, ge=1)
    """Number of trials over all runs. The teacher, duplicates and retries do not count."""
    time: OptionalDuration = None
    """Time over all runs, e.g. `90s`, `30m`, `2h`; the lengths of training are fitted to it."""


class ArtifactSettings(Section):
    """Where models are stored, and how much disk space they may take."""

    path: Path | None = None
    """The folder. If left out: `STUDY/artifacts` beside the study file."""
    max_gb: float = Field(default=10, gt=0)
    """Largest size of the folder, in GB; models on the front are never removed."""


class Recovery(Section):
    """How the super-net and then each candidate are distilled from the teacher; the same for all trials."""

    epochs: float = Field(default=6, ge=0)
    """Length of a full training, in epochs. An epoch is as many rows as train has, drawn from the distillation set."""
    short_epochs: float = Field(default=1.2, ge=0)
    """Length of the short training before it, in epochs."""
    learning_rate: float = Field(default=1.5e-4, gt=0)
    """Learning rate of a candidate's training."""
    whole_depth_learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate of candidates that keep every layer, and so begin near the teacher; null: `learning_rate`. A study with a
    time budget uses a third of `learning_rate` where its file sets neither."""
    batch: int = Field(default=32, ge=1)
    """Rows per step."""
    temperature: float = Field(default=2.0, gt=0)
    """Temperature of the distillation (Hinton et al. 2015): both models' logits are divided by it."""
    label_weight: float = Field(default=0.1, ge=0)
    """Weight of the loss on the labels, relative to the loss on the teacher's predictions."""
    hidden_weight: float = Field(default=0.3, ge=0)
    """Weight of the loss on the teacher's hidden states."""
    copies: int = Field(default=6, ge=0)
    """Number of augmented copies of each training row, labelled by the teacher."""
    copy_kind: Literal["edited", "written"] = "edited"
    """How copies are made. `edited`: words masked, rows joined or cut. `written`: new texts, as many, that an n-gram model of
    the texts writes; pairs of texts are edited all the same."""
    distilled_rows: int | None = Field(default=None, ge=1)
    """Number of rows that candidates learn from, drawn from training rows, unlabelled texts and copies by the seed; null: all.
    A study with a time budget takes as many as its longest training reads where its file does not set it: the teacher labels
    no others."""
    supernet_epochs: float = Field(default=6, gt=0)
    """Length of the super-net's training, in epochs."""
    supernet_learning_rate: float = Field(default=3e-4, gt=0)
    """Learning rate of the super-net's training."""

    def epochs_at(self, rung: int) -> float:
        """Return the epochs that a rung adds to the rung below it."""
        return (0.0, self.short_epochs, self.epochs)[rung]


class Engine(Section):
    """The parts of the search engine. Each can be switched off, so that its contribution can be measured."""

    refit: bool = True
    """Fit a candidate's matrices to the teacher's outputs by least squares before training."""
    supernet: bool = True
    """Train one super-net first, and slice candidates from it."""
    rungs: bool = True
    """Measure candidates untrained, train the promising ones shortly and the best ones in full."""
    starters: bool = True
    """Try first: known good recipes, the corner of the space, and the fronts of earlier studies of this teacher."""
    reuse: bool = True
    """Share one training among all bit-widths, and reuse the results of studies in the same folder."""
    sampler: Literal["tpe", "gp", "nsga2", "random"] = "tpe"
    """The sampler that proposes recipes."""
    latency_table: bool = True
    """Stop a candidate before it is built if it certainly exceeds `max_latency_ms`."""
    stop_early: bool = True
    """End a search with a time budget when its hypervolume no longer grows, and no candidate that it could train in full
    promises a faster model within `max_drop`."""

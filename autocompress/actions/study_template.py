"""Inspect a model and data, and write a study file for them with the reason for each choice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autocompress.actions.inspect_data import read_values, recognize_task, split_files, token_lengths
from autocompress.config.paths import data_path, model_path
from autocompress.core.task_columns import task_names
from autocompress.metrics import METRICS
from autocompress.models.model_config import ModelConfig, read_config
from autocompress.tasks import LabelSummary, Recognition, Task
from autocompress.tasks._sentence_pooling import has_pooling

LONG_TOKENS = 200  # from this median length on, cheaper attentions are worth searching
MOST_ROWS = 100_000  # of train; more take gigabytes of memory
SILVER_PAIRS, SILVER_PER_ROW = 24_000, 4  # most pairs that the model's own embeddings rate, and most for each row


@dataclass(frozen=True, kw_only=True)
class StudyTemplate:
    """The text of a study file, and the observations that it rests on."""

    text: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Observations:
    """Model and data as `init` sees them."""

    model: str
    config: ModelConfig
    files: dict[str, Path]  # by split
    task: Task
    recognized: Recognition
    rows: int  # of train
    labels: LabelSummary
    lengths: np.ndarray  # tokens of some texts


@dataclass(frozen=True, kw_only=True)
class _Choices:
    """The values of a study file that depend on model and data."""

    max_tokens: int
    space: str
    max_train_rows: int | None
    is_fine_tuned: bool  # else the model is used as it is
    silver_pairs: int | None  # null: the model learns from the labels alone


def make_study_template(
    model: str, data: str, to: Path, offline: bool, options: Mapping[str, str | None], kind: str | None = None
) -> StudyTemplate:
    """Return the study file `to` for a model (a folder or hub name) and data (a file, or a folder with one per split).

    `options` names the columns (text, pair, label) that are not to be guessed, `kind` the task. Raises UsageError where
    the model is no encoder, or no task finds its columns in the data.
    """
    folder = Path.cwd()
    source = model_path(model, folder, "MODEL")
    config = read_config(source, "MODEL", offline)
    files = split_files(Path(data_path(data, folder, "DATA")))
    values = read_values(files["train"])
    task, recognized = recognize_task(values, options, source=source, architectures=config.architectures, kind=kind)
    observed = _Observations(
        model=model,
        config=config,
        files=files,
        task=task,
        recognized=recognized,
        rows=len(values[recognized.texts[0]]),
        labels=task.describe_labels(values, recognized),
        lengths=token_lengths(model, values, recognized.texts, offline),
    )
    choices = _choose(observed, offline)
    return StudyTemplate(text=_format_study(observed, choices, to), reasons=tuple(_reasons(observed, choices)))


def _choose(observed: _Observations, offline: bool) -> _Choices:
    max_tokens = min(-(-max(_longest(observed), 8) // 8) * 8, observed.config.positions)
    is_fine_tuned = not observed.task.has_head(observed.config.architectures, observed.config.outputs)
    return _Choices(
        max_tokens=max_tokens,
        space=_choose_space(observed),
        max_train_rows=MOST_ROWS if is_fine_tuned and observed.rows > MOST_ROWS else None,
        is_fine_tuned=is_fine_tuned,
        silver_pairs=_choose_silver_pairs(observed, offline) if is_fine_tuned else None,
    )


def _choose_silver_pairs(observed: _Observations, offline: bool) -> int | None:
    """Return how many pairs a model of sentence embeddings rates first, where the labels compare two texts by a number."""
    compares = observed.task.predicts == "numbers" and observed.task.has_pairs(observed.recognized.columns)
    if not compares or not has_pooling(model_path(observed.model, Path.cwd(), "MODEL"), offline):
        return None
    return min(SILVER_PAIRS, SILVER_PER_ROW * observed.rows)


def _choose_space(observed: _Observations) -> str:
    if not observed.config.is_known:
        return "bits"
    return "long_text" if np.median(observed.lengths) >= LONG_TOKENS else "encoder"


def _longest(observed: _Observations) -> int:
    """Return the tokens that 98 % of the texts do not exceed."""
    return int(np.quantile(observed.lengths, 0.98))


def _reasons(observed: _Observations, choices: _Choices) -> list[str]:
    texts = " and ".join(observed.recognized.texts)
    others = [name for name in task_names() if name != observed.task.name]
    why = f", because {observed.recognized.reason}" if observed.recognized.reason else ""
    return [
        f"the task is {observed.task.name}{why}; choose another with --task: {', '.join(others)}",
        f"{observed.rows:,} training rows; text: {texts}; {observed.labels.description}",
        f"texts have {int(np.median(observed.lengths))} tokens (median); 98 % have at most {_longest(observed)}",
        observed.labels.reason,
        f"the model has a {observed.task.head}, so it is used as it is"
        if not choices.is_fine_tuned
        else f"the model has no {observed.task.head}, so it is fine-tuned first",
        *([limits] if (limits := observed.config.describe_limits()) else []),
    ]


def _format_study(observed: _Observations, choices: _Choices, to: Path) -> str:
    """Return the text of the study file."""
    name = Path(observed.model.rstrip("/")).name
    lines = [
        f"# A search for smaller, faster models of {name}. The README explains every key.",
        *_teacher_lines(observed, choices, to),
        *_task_lines(observed, choices, to),
        "device: {runtime: onnxruntime, threads: 1, batch: 1, tokens: data}   # data: the lengths of your texts; or a number",
        f"space: {choices.space}   # the decisions to search: encoder, long_text, bits, quickstart, or a mapping",
        "constraints: {max_drop: 0.02}   # lose at most 2 points of quality; also max_latency_ms, max_size_mb, max_download_mb",
        "budget: {time: 30m}   # includes fine-tuning the teacher",
        f"workers: {min(2, _count_cores())}   # trials at the same time; they share the cores",
    ]
    return "\n".join(lines) + "\n"


def _teacher_lines(observed: _Observations, choices: _Choices, to: Path) -> list[str]:
    is_folder = Path(observed.model).is_dir()
    lines = ["teacher:", f"  model: {_relative_path(observed.model, to) if is_folder else _quote(observed.model)}"]
    if choices.is_fine_tuned:
        silver = choices.silver_pairs
        lines += [
            f"  # The model has no {observed.task.head} yet. `auto` searches learning rate, epochs, batch and warm-up on rows",
            "  # cut from train, within a quarter of the budget. Or give them: {epochs: 3, learning_rate: 5.0e-5}.",
            *([] if silver is None else ["  # It first learns pairs of these texts that its embeddings rate."]),
            f"  fine_tune: {'auto' if silver is None else f'{{auto: true, silver_pairs: {silver}}}'}",
        ]
    return lines


def _task_lines(observed: _Observations, choices: _Choices, to: Path) -> list[str]:
    lines = ["task:", f"  kind: {observed.task.name}", "  data:"]
    lines += [f"    {split}: {_relative_path(file, to)}" for split, file in observed.files.items()]
    missing = " and ".join(split for split in ("validation", "test") if split not in observed.files)
    if missing:
        lines.append(f"    # {missing}: cut from train, because DATA has no such file")
    if choices.max_train_rows:
        lines += [
            f"    max_train_rows: {choices.max_train_rows}   # labels to learn; more rows take much memory",
            f"    unlabelled: {_relative_path(observed.files['train'], to)}   # the candidates learn from all its texts",
        ]
    columns, others = observed.recognized.columns, _fitting_metrics(observed)
    return [
        *lines,
        f"  columns: {{{', '.join(f'{role}: {_quote(name)}' for role, name in columns.items())}}}",
        f"  metric: {observed.labels.metric}" + (f"   # or {', '.join(others)}" if others else ""),
        f"  max_tokens: {choices.max_tokens}   # longer texts are cut; the model reads at most {observed.config.positions}",
    ]


def _fitting_metrics(observed: _Observations) -> list[str]:
    """Return the other metrics that compare what the task predicts, those that it names first."""
    others = [name for name, metric in METRICS.entries().items() if observed.task.predicts in metric.reads]
    names = dict.fromkeys((*observed.labels.other_metrics, *others))
    return [name for name in names if name != observed.labels.metric]


def _relative_path(path: str | Path, to: Path) -> str:
    """Return a path relative to the study file, written so that it is never taken for a hub name."""
    relative = Path(os.path.relpath(path, to.absolute().parent)).as_posix()
    return _quote(relative if relative.startswith("../") else f"./{relative}")


def _quote(text: str | None) -> str:
    """Return a YAML scalar, quoted where YAML would read it as another type."""
    import yaml

    return yaml.safe_dump(text, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

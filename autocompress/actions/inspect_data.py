"""Inspect the data of a new study: its split files, its columns, and how long its texts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.config.paths import DATA_SUFFIXES, model_path
from autocompress.core.errors import UsageError
from autocompress.data.file_formats import SPLIT_WORDS, SourceReader, column_names
from autocompress.tasks import DEFAULT_TASK, TASKS, Recognition, Task, load_task

SAMPLED_TEXTS = 500  # texts that are tokenized


def split_files(path: Path) -> dict[str, Path]:
    """Return the files of a folder by the split that their names begin with; a single file is train."""
    if path.is_file():
        return {"train": path}
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in DATA_SUFFIXES)
    by_split = {SPLIT_WORDS.get(file.stem.replace("_", "-").split("-")[0].lower()): file for file in reversed(files)}
    splits: dict[str, Path] = {split: by_split[split] for split in ("train", "validation", "test") if split in by_split}
    if "train" not in splits:
        names = ", ".join(file.name for file in files) or "no data files"
        raise UsageError(
            f"DATA: {path}: no file whose name begins with train (available: {names}); name the training file itself"
        )
    return splits


def read_values(path: Path) -> Mapping[str, Sequence[object]]:
    """Return the columns of a file; in lists of labels, names stand for the numbers that the file gives names."""
    file = next(iter(SourceReader("DATA", (), tuple(column_names(path))).read_local(path)))
    return {column: _name_lists(values, file.class_names.get(column, ())) for column, values in file.columns.items()}


def _name_lists(values: Sequence[object], names: Sequence[str]) -> Sequence[object]:
    if not names or not all(isinstance(row, list) for row in values):
        return values
    known = dict(enumerate(names))
    return [[known.get(label, label) for label in row] for row in values if isinstance(row, list)]


def recognize_task(
    values: Mapping[str, Sequence[object]],
    named: Mapping[str, str | None],
    *,
    source: str = "",
    architectures: Sequence[str] = (),
    kind: str | None = None,
) -> tuple[Task, Recognition]:
    """Return the task with the largest claim to the data, and the roles of their columns.

    `named` maps text, pair and label to the column that the user named, or to null; `source` is the model's folder or hub
    name, `architectures` the classes that its config names; `kind` is the task that the user named. UsageError where no
    task, or not the named one, finds its columns.
    """
    if kind is not None:
        task = load_task(kind, "--task")
        return task, task.recognize(values, named)
    claims, problem = [], None
    for task in TASKS.entries().values():
        try:
            claims.append((task, task.recognize(values, named)))
        except UsageError as error:
            problem = error if problem is None or task.name == DEFAULT_TASK else problem
    if problem is not None and not claims:
        raise problem
    return max(claims, key=lambda claim: claim[1].claim * claim[0].suits_model(source, architectures))


def token_lengths(
    model: str, values: Mapping[str, Sequence[object]], columns: Sequence[str], offline: bool
) -> np.ndarray:
    """Return the lengths in tokens of some rows, by the model's own tokenizer; `columns` hold one text or two."""
    from transformers import AutoTokenizer

    path = model_path(model, Path.cwd(), "MODEL")
    tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=offline)
    rows = np.random.default_rng(0).permutation(len(values[columns[0]]))[:SAMPLED_TEXTS]
    texts = [[_join_words(values[name][row]) for row in rows] for name in columns]
    encoded = tokenizer(*texts, truncation=False, verbose=False)
    return np.array([len(ids) for ids in encoded["input_ids"]])


def _join_words(text: object) -> str:
    """Return a text that may be given as a list of words."""
    return " ".join(map(str, text)) if isinstance(text, Sequence) and not isinstance(text, str) else str(text)

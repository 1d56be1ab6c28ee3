"""Inspect the data of a new study: its split files, its columns, and how long its texts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.config.paths import DATA_SUFFIXES, model_path
from autocompress.core.errors import UsageError
from autocompress.data.file_formats import SPLIT_WORDS

LABELS = ("label", "labels", "target", "class", "category", "intent", "sentiment", "y")
PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
         ("question", "passage"), ("text_a", "text_b"), ("text", "text_pair"))  # fmt: skip
TEXTS = ("text", "sentence", "content", "review", "question", "query", "utterance", "title")
MOST_LABELS = 200  # a column with more values is not guessed to be the label
SAMPLED_TEXTS = 500  # texts that are tokenized


@dataclass(frozen=True, kw_only=True)
class GuessedColumns:
    """The roles of the columns."""

    text: str
    pair: str | None
    label: str


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


def guess_columns(values: Mapping[str, Sequence[Any]], options: Mapping[str, str | None]) -> GuessedColumns:
    """Guess the columns of text, second text and label from common names, else from their values.

    `options` maps text, pair and label to the column that the user named, or to null.
    """
    for role, name in options.items():
        if name is not None and name not in values:
            raise UsageError(f"--{role}: no column {name!r} (available: {', '.join(values)})")
    texts = [name for name, column in values.items() if _holds_sentences(column)]
    label = options.get("label") or _guess_label(values, texts)
    texts = [name for name in texts if name != label]
    pair = next((names for names in PAIRS if all(name in texts for name in names)), None)
    text = options.get("text") or (pair[0] if pair else _guess_text(values, texts))
    second = options.get("pair") or (pair[1] if pair and pair[0] == text else None)
    return GuessedColumns(text=text, pair=second, label=label)


def _guess_label(values: Mapping[str, Sequence[Any]], texts: Sequence[str]) -> str:
    for name in LABELS:
        if name in values:
            return name
    categories = [
        name for name, column in values.items() if name not in texts and len(set(map(str, column))) <= MOST_LABELS
    ]
    if not categories:
        raise UsageError(
            f"DATA: no column looks like a label; name it with --label COLUMN (available: {', '.join(values)})"
        )
    return categories[-1]


def _guess_text(values: Mapping[str, Sequence[Any]], texts: Sequence[str]) -> str:
    for name in TEXTS:
        if name in texts:
            return name
    if not texts:
        raise UsageError(
            f"DATA: no column looks like a text; name it with --text COLUMN (available: {', '.join(values)})"
        )
    return texts[0]


def _holds_sentences(column: Sequence[Any]) -> bool:
    """Return whether the values are sentences rather than names of labels: strings, most of them different."""
    strings = [value for value in column if isinstance(value, str)]
    return len(strings) > 0.9 * len(column) and len(set(strings)) > 0.5 * len(strings)


def token_lengths(
    model: str, values: Mapping[str, Sequence[Any]], columns: GuessedColumns, offline: bool
) -> np.ndarray:
    """Return the lengths in tokens of some rows, by the model's own tokenizer."""
    from transformers import AutoTokenizer

    path = model_path(model, Path.cwd(), "MODEL")
    tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=offline)
    rows = np.random.default_rng(0).permutation(len(values[columns.text]))[:SAMPLED_TEXTS]
    texts = [str(values[columns.text][row]) for row in rows]
    pairs = [str(values[columns.pair][row]) for row in rows] if columns.pair else None
    encoded = tokenizer(texts, pairs, truncation=False, verbose=False)
    return np.array([len(ids) for ids in encoded["input_ids"]])


def hidden_width(model: str, offline: bool) -> int:
    """Return the width of the model's hidden states."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_path(model, Path.cwd(), "MODEL"), local_files_only=offline)
    return int(config.hidden_size)

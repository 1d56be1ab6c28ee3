"""Look at a model and at data, and write the study file that a search of them needs, with the reason of each choice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.config.paths import DATA_SUFFIXES, data_path, model_path
from autocompress.core.errors import UsageError
from autocompress.data.files import SPLIT_WORDS, SourceReader, column_names
from autocompress.models.model_config import ModelConfig, read_config

LABELS = ("label", "labels", "target", "class", "category", "intent", "sentiment", "y")
PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
         ("question", "passage"), ("text_a", "text_b"), ("text", "text_pair"))  # fmt: skip
TEXTS = ("text", "sentence", "content", "review", "question", "query", "utterance", "title")
MOST_LABELS = 200
RARE = 0.15  # where the rarest label has a smaller part of the rows, accuracy tells little
SAMPLE = 500  # texts that are tokenized
LONG_TOKENS = 200  # from here on attention is worth searching
MOST_TUNED_ROWS, FURTHER_ROWS = 8000, 12_000  # of a teacher that is still to be fine-tuned, where there are more


@dataclass(frozen=True, kw_only=True)
class GuessedColumns:
    """Which column is what."""

    text: str
    pair: str | None
    label: str


@dataclass(frozen=True, kw_only=True)
class StudyTemplate:
    """The text of a study file, and what it rests on, in words."""

    text: str
    reasons: tuple[str, ...]


def make_study_template(
    model: str, data: str, to: Path, offline: bool, given: Mapping[str, str | None]
) -> StudyTemplate:
    """The study file `to` for a model (a folder, a hub name) and its data (a file, or a folder with one for each split).

    `given` names columns (text, pair, label) that are not to be guessed. UsageError where the model's family is not
    supported, or the data has no column that could be a text or a label.
    """
    here = Path.cwd()
    config = read_config(model_path(model, here, "MODEL"), "MODEL", offline)
    files = split_files(Path(data_path(data, here, "DATA")))
    train = files["train"]
    names = column_names(train)
    values = next(iter(SourceReader("DATA", (), tuple(names)).read_local(train))).columns
    columns = guess_columns(values, given)
    labels = Counter(map(str, values[columns.label]))
    lengths = token_lengths(model, values, columns, offline)
    chosen = _choices(config, values, columns, labels, lengths)
    return StudyTemplate(text=_text(model, files, to, columns, config, chosen), reasons=tuple(chosen.reasons))


def split_files(path: Path) -> dict[str, Path]:
    """The files of a folder by the split that their names say; a file alone is train."""
    if path.is_file():
        return {"train": path}
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in DATA_SUFFIXES)
    found = {SPLIT_WORDS.get(file.stem.replace("_", "-").split("-")[0].lower()): file for file in reversed(files)}
    splits: dict[str, Path] = {split: found[split] for split in ("train", "validation", "test") if split in found}
    if "train" not in splits:
        names = ", ".join(file.name for file in files) or "no data file"
        raise UsageError(f"DATA: {path} has no file whose name begins with train ({names}); name the file itself")
    return splits


def guess_columns(values: Mapping[str, Sequence[Any]], given: Mapping[str, str | None]) -> GuessedColumns:
    """Text, second text and label: by the names that are usual, else by what is in them."""
    for role, name in given.items():
        if name is not None and name not in values:
            raise UsageError(f"--{role}: there is no column {name!r}; available: {', '.join(values)}")
    texts = [name for name, column in values.items() if _holds_texts(column)]
    label = given.get("label") or next((name for name in LABELS if name in values), None)
    if label is None:
        few = [
            name for name, column in values.items() if name not in texts and len(set(map(str, column))) <= MOST_LABELS
        ]
        label = few[-1] if few else None
    if label is None:
        raise UsageError(
            f"DATA: no column looks like a label; say which one is: --label NAME; available: {', '.join(values)}"
        )
    texts = [name for name in texts if name != label]
    pair = next((both for both in PAIRS if all(name in texts for name in both)), None)
    text = given.get("text") or (pair[0] if pair else None)
    text = text or next((name for name in TEXTS if name in texts), texts[0] if texts else None)
    if text is None:
        raise UsageError(
            f"DATA: no column looks like a text; say which one is: --text NAME; available: {', '.join(values)}"
        )
    second = given.get("pair") or (pair[1] if pair and pair[0] == text else None)
    return GuessedColumns(text=text, pair=second, label=label)


def _holds_texts(column: Sequence[Any]) -> bool:
    """Whether these are sentences, and not names of labels: strings, most of them different."""
    strings = [value for value in column if isinstance(value, str)]
    return len(strings) > 0.9 * len(column) and len(set(strings)) > 0.5 * len(strings)


def token_lengths(
    model: str, values: Mapping[str, Sequence[Any]], columns: GuessedColumns, offline: bool
) -> np.ndarray:
    """Tokens of some rows, with the model's own tokenizer."""
    from transformers import AutoTokenizer

    place = model_path(model, Path.cwd(), "MODEL")
    tokenizer: Any = AutoTokenizer.from_pretrained(place, local_files_only=offline)
    rows = np.random.default_rng(0).permutation(len(values[columns.text]))[:SAMPLE]
    texts = [str(values[columns.text][row]) for row in rows]
    pairs = [str(values[columns.pair][row]) for row in rows] if columns.pair else None
    encoded = tokenizer(texts, pairs, truncation=False, verbose=False)
    return np.array([len(ids) for ids in encoded["input_ids"]])


@dataclass(frozen=True, kw_only=True)
class _Choices:
    metric: str
    max_tokens: int
    space: str
    most_rows: int | None
    tune: bool
    reasons: list[str]


def _choices(
    config: ModelConfig,
    values: Mapping[str, Sequence[Any]],
    columns: GuessedColumns,
    labels: Mapping[str, int],
    lengths: np.ndarray,
) -> _Choices:
    rows, rarest = len(values[columns.text]), min(labels.values()) / sum(labels.values())
    metric = "matthews_correlation" if rarest < RARE / max(1, len(labels) - 1) else "accuracy"
    longest = int(np.quantile(lengths, 0.98))
    max_tokens = min(-(-max(longest, 8) // 8) * 8, config.positions)
    space = "long_text" if np.median(lengths) >= LONG_TOKENS else "encoder"
    tune = not config.classifies
    most_rows = MOST_TUNED_ROWS if tune and rows > FURTHER_ROWS else None
    texts = f"{columns.text} and {columns.pair}" if columns.pair else columns.text
    reasons = [
        f"{rows:,} training rows; text: {texts}; label: {columns.label}, with {len(labels)} values",
        f"texts have {int(np.median(lengths))} tokens (median), 98 % of them at most {longest}",
        f"the rarest label has {100 * rarest:.0f} % of the rows: {metric}",
        "the model has a classifier: it is taken as it is"
        if not tune
        else "the model has no classifier: it is fine-tuned first",
    ]
    return _Choices(metric=metric, max_tokens=max_tokens, space=space, most_rows=most_rows, tune=tune, reasons=reasons)


def _text(
    model: str, files: Mapping[str, Path], to: Path, columns: GuessedColumns, config: ModelConfig, chosen: _Choices
) -> str:
    def beside(path: str | Path) -> str:
        """As the study file names it: never to be taken for a hub name."""
        relative = Path(os.path.relpath(path, to.absolute().parent)).as_posix()
        return _quoted(relative if relative.startswith("../") else f"./{relative}")

    tuned = "  fine_tune: {epochs: 3, learning_rate: 5.0e-5}   # it has no classifier yet; leave out if it has"
    absent = " and ".join(split for split in ("validation", "test") if split not in files)
    few = f"    max_train_rows: {chosen.most_rows}   # the teacher is fine-tuned on these; more take longer"
    names = {"text": columns.text, "text_pair": columns.pair, "label": columns.label}
    lines = [
        f"# A search for smaller, faster models of {Path(model.rstrip('/')).name}. Every key is explained in the README.",
        "teacher:",
        f"  model: {beside(model) if Path(model).is_dir() else _quoted(model)}",
        *([tuned] if chosen.tune else []),
        "task:",
        "  kind: text-classification",
        "  data:",
        *(f"    {split}: {beside(file)}" for split, file in files.items()),
        *([f"    # {absent}: cut from train, since no file is named so"] if absent else []),
        *([few] if chosen.most_rows else []),
        *(
            [f"    unlabelled: {beside(files['train'])}   # all its texts teach the small models"]
            if chosen.most_rows
            else []
        ),
        f"  columns: {{{', '.join(f'{role}: {_quoted(name)}' for role, name in names.items())}}}",
        f"  metric: {chosen.metric}   # or accuracy, f1, matthews_correlation",
        f"  max_tokens: {chosen.max_tokens}   # longer texts are cut; the model reads at most {config.positions}",
        "device: {runtime: onnxruntime, threads: 1, batch: 1, tokens: data}   # data: texts as long as yours; or a number",
        f"space: {chosen.space}   # which decisions are searched: encoder, long_text, bits, quickstart, or a mapping",
        "constraints: {max_drop: 0.02}   # of quality, 2 points at most; also max_latency_ms, max_size_mb",
        "budget: {time: 30m}   # fine-tuning the teacher and all else counted",
        f"workers: {min(2, _cores())}   # trials side by side, each with its share of the cores",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str | None) -> str:
    """As YAML wants it: quoted where it could be taken for something else."""
    import yaml

    return yaml.safe_dump(text, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

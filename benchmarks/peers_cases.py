"""A case of the peers benchmark: one study's teacher, rows and device, as files that every peer's environment can read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

Text = tuple[str, str | None]  # the second one where rows are pairs of texts


@dataclass(frozen=True)
class Rows:
    """The rows of a split: texts and label ids."""

    texts: list[Text]
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Case:
    """The folder of a case, and its settings."""

    folder: Path
    data_set: str
    seed: int
    base: str  # the pretrained model that the teacher was fine-tuned from: a folder or hub name
    labels: int
    has_pairs: bool
    max_tokens: int
    threads: int
    fine_tuning: dict[str, float]  # the teacher's epochs, learning_rate and batch
    search_seconds: float  # of the study, without fine-tuning the teacher
    picked: str | None  # the model that `pick` names, in words; null where no model fits

    @property
    def teacher(self) -> Path:
        """The teacher in the form of transformers."""
        return self.folder / "teacher-transformers"

    @property
    def teacher_onnx(self) -> Path:
        """The teacher's fp32 artifact, which the study measured."""
        return self.folder / "teacher-onnx"

    @property
    def picked_model(self) -> Path:
        """The exported model that `pick` names."""
        return self.folder / "picked"

    @cached_property
    def _splits(self) -> dict[str, dict[str, list[Any]]]:
        splits: dict[str, dict[str, list[Any]]] = json.loads((self.folder / "rows.json").read_text(encoding="utf-8"))
        return splits

    def rows(self, split: str) -> Rows:
        """Return the rows of train, validation, test or unlabelled (whose labels mean nothing)."""
        values = self._splits[split]
        texts: list[Text] = [(text, other) for text, other in values["texts"]]
        return Rows(texts, np.array(values["labels"], np.int64))

    def feeds(self) -> list[dict[str, np.ndarray]]:
        """Return the inputs to time: of the study's device, the same for every model."""
        with np.load(self.folder / "feeds.npz") as file:
            ids = [file[name] for name in file.files]
        return [
            {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)} for row in ids
        ]


def read_case(folder: Path) -> Case:
    """Read a case from its folder."""
    return Case(folder=folder, **json.loads((folder / "case.json").read_text(encoding="utf-8")))


def write_case(case: Case) -> None:
    """Write the settings of a case into its folder: the last step, so that an interrupted case is made again."""
    values = {name: getattr(case, name) for name in case.__dataclass_fields__ if name != "folder"}
    (case.folder / "case.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def join_texts(texts: list[Text]) -> list[str]:
    """Return each text, or each pair as one text."""
    return [text if other is None else f"{text} {other}" for text, other in texts]

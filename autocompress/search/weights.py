"""Weights of candidates and super-nets on disk, without the word table.

Training leaves the word table as the teacher's, and it is most of a small model: it is stored once, with the teacher.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from autocompress.search.teacher_provider import TeacherProvider

FILE = "model.safetensors"


def save_weights(model: torch.nn.Module, teacher: TeacherProvider, folder: Path) -> None:
    """Write a model's weights, less the word table where it equals the teacher's."""
    name, table = _word_table(teacher)
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    if torch.equal(weights[name], table):
        del weights[name]
    save_file(weights, folder / FILE)


def load_weights(model: torch.nn.Module, teacher: TeacherProvider, folder: Path) -> None:
    """Load what `save_weights` wrote; a table that is absent is the teacher's. Every weight must fit (RuntimeError)."""
    name, table = _word_table(teacher)
    model.load_state_dict({name: table, **load_file(folder / FILE)})


def _word_table(teacher: TeacherProvider) -> tuple[str, torch.Tensor]:
    """Return the name of the word table among a model's weights, and the teacher's own."""
    table = teacher.family.embeddings(teacher.model).word.weight
    name = next(name for name, parameter in teacher.model.named_parameters() if parameter is table)
    return name, table.detach()

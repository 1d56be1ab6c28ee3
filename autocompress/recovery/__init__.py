"""Give a candidate its quality back: first in closed form (refit), then by distillation from the teacher's cached outputs."""

from __future__ import annotations

from autocompress.recovery.distillation import (
    Targets,
    distil,
    divergence,
    pool,
    taught_layers,
    teacher_targets,
)
from autocompress.recovery.refit import refit
from autocompress.recovery.supernet import SuperNet, train_supernet

__all__ = [
    "SuperNet",
    "Targets",
    "distil",
    "divergence",
    "pool",
    "refit",
    "taught_layers",
    "teacher_targets",
    "train_supernet",
]

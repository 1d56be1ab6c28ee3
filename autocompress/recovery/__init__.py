"""Give a candidate its quality back: first in closed form (refit), then by distillation from the teacher's cached outputs."""

from __future__ import annotations

from autocompress.recovery.distillation import (
    Targets,
    distil,
    pool,
    taught_layers,
    teacher_targets,
)
from autocompress.recovery.refit import refit

VERSION = 2

__all__ = ["VERSION", "Targets", "distil", "pool", "refit", "taught_layers", "teacher_targets"]

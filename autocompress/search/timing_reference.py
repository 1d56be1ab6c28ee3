"""The timing reference of a study: the teacher cut down to one small layer, which stays in the processor's caches.

Its weights are the teacher's and its outputs mean nothing: only its latency counts. Being made by the same steps as every
candidate, it exists for each task, family and runtime.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autocompress.deployment.deploy import deploy
from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance
from autocompress.search.stage_keys import timing_reference_stage
from autocompress.search.study_context import StudyContext
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.storage import device_lock
from autocompress.techniques.building import build_candidate
from autocompress.techniques.structure import Structure

HEADS, NEURONS = 1, 64


def deploy_timing_reference(context: StudyContext, runtime: str) -> Path | None:
    """Return the artifact of the timing reference for a runtime, deployed once for each teacher.

    Null for a teacher of an unknown family, whose layers cannot be taken apart. The teacher must be loaded.
    """
    if not context.teacher.family.is_known:
        return None

    def build(folder: Path) -> None:
        data = context.data
        data.tokens  # noqa: B018  # from then on its tokenizer cuts texts at max_tokens
        with device_lock.share(context.store.root):
            candidate = cut_down(context.teacher)
            deploy(candidate, data.tokenizer, data.interface, runtime, folder, data.calibration_inputs)

    return context.store.stage(timing_reference_stage(context.teacher.stage.key, runtime), build)


def cut_down(teacher: TeacherProvider) -> Candidate:
    """Return the teacher's first layer with one head and at most 64 neurons, between its embeddings and its head."""
    parts = teacher.family.parts(teacher.model)
    equal = Importance(  # any head and any neurons will do
        np.zeros((len(parts), parts[0].heads)), np.zeros((len(parts), parts[0].neurons)), tuple(range(len(parts)))
    )
    structure = Structure((0,), (HEADS,), (min(NEURONS, parts[0].neurons),))
    return build_candidate(teacher.model, teacher.recipe, equal, structure)

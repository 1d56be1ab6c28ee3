"""The embeddings that a study's model gives before it is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch

from autocompress.config import StudyPlan
from autocompress.data.ragged import Ragged
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.precision import autocast
from autocompress.models.teacher import load_teacher
from autocompress.search.study_data import StudyData
from autocompress.tasks import Rows, load_task
from autocompress.training.loop import ordered_batches

EMBEDDINGS = "feature-extraction"  # the task that pools a model's states


def embed_texts(
    plan: StudyPlan, data: StudyData, texts: Sequence[str], offline: bool, *, exact: bool = True
) -> np.ndarray:
    """Return the embeddings (texts, hidden) of length 1; unless they are to be `exact`, in bf16 where the CPU has it."""
    task = load_task(EMBEDDINGS)
    model = load_teacher(plan.teacher.model, task, data.splits, new_head=False, seed=plan.seed, offline=offline)
    forward = open_forward(model, load_family(model.config.model_type))
    missing = Ragged.one_each(np.full(len(texts), np.nan, np.float32))
    tokens = task.tokenize(Rows(tuple(texts), None, missing), data.tokenizer, plan.task.max_tokens)
    embeddings = np.empty((len(texts), model.config.hidden_size), np.float32)
    with torch.no_grad(), nullcontext() if exact else autocast():
        for rows in ordered_batches(tokens.lengths, 64):
            inputs = {name: torch.from_numpy(array) for name, array in data.pad(tokens, rows, multiple=8).items()}
            embeddings[rows] = torch.nn.functional.normalize(forward.run_batch(inputs).logits.float(), dim=1).numpy()
    return embeddings

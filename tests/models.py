"""Tiny models, batches and candidates for tests of models, training and deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from autocompress import benchmarking
from autocompress.core.recipe import Recipe
from autocompress.models import attentions
from autocompress.models.candidate import Candidate
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.models.importance import Importance, measure_importance
from autocompress.tasks import ModelInterface
from autocompress.tasks._class_objective import ClassObjective
from autocompress.tasks.text_classification import TASK
from autocompress.techniques.building import build_candidate
from tests.tiny import tiny_config, tiny_tokenizer

# Without these instructions, onnxruntime's 8-bit products add up in 16 bits, which overflow for the largest sums.
EXACT_8_BITS = bool({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"} & set(benchmarking.cpu_flags()))
TOLERANCE_8_BITS = 0.2 if EXACT_8_BITS else 0.5  # of the logits of a tiny model

OBJECTIVE = ClassObjective()


def interface(pairs: bool = False) -> ModelInterface:
    """Return the inputs and the output of a text classifier."""
    return TASK.interface(pairs)


def tiny_model(family: str, head: str = "AutoModelForSequenceClassification", **sizes: Any) -> Any:
    """Build a random model whose weights are large enough to distinguish rows; `head` is a class of transformers."""
    import transformers

    attentions.register_attentions()
    torch.manual_seed(0)
    config = tiny_config(family, **{"spread": 0.2, **sizes})
    model = getattr(transformers, head).from_config(config, attn_implementation=attentions.implementation_name("full"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)  # a bias of zeros would hide a forgotten bias
    return model.eval()


def tiny_batch(
    family: str, rows: int = 4, length: int = 12, seed: int = 0, pairs: bool = False
) -> dict[str, torch.Tensor]:
    """Draw random ids; row i ends with i tokens of padding."""
    rng = np.random.default_rng(seed)
    tokenizer = tiny_tokenizer(family)
    ids = torch.from_numpy(rng.integers(5, len(tokenizer), (rows, length)))
    mask = torch.ones_like(ids)
    for row in range(rows):
        mask[row, length - row :] = 0
    ids[mask == 0] = tokenizer.pad_token_id
    types = {"token_type_ids": torch.from_numpy(rng.integers(0, 2, (rows, length)))} if pairs else {}
    return {"input_ids": ids, "attention_mask": mask, **types}


def tiny_importance(model: Any, family: str) -> Importance:
    """Measure importance on two random batches."""
    batches = [{**tiny_batch(family, seed=seed), "labels": torch.tensor([0, 1, 0, 1])} for seed in range(2)]
    return measure_importance(Forward(model, load_family(model.config.model_type)), batches, OBJECTIVE)


def tiny_candidate(family: str = "bert", **decisions: Any) -> Candidate:
    """Build the candidate of a recipe from a random teacher of three layers."""
    model = tiny_model(family)
    return build_candidate(model, Recipe(**{"depth": 3, **decisions}), tiny_importance(model, family))


def deployed(candidate: Candidate, folder: Path, family: str = "bert", pairs: bool = False) -> Path:
    """Write the candidate's artifact for onnxruntime to a folder, and return the folder."""
    from autocompress.deployment.deploy import deploy

    folder.mkdir(parents=True, exist_ok=True)
    deploy(candidate, tiny_tokenizer(family), interface(pairs), "onnxruntime", folder)
    return folder

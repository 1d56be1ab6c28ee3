"""Load, check, identify and save the teacher: the user's model, which the study may have fine-tuned first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from autocompress.core.errors import UsageError
from autocompress.models import attentions
from autocompress.models.families import load_family
from autocompress.storage.checksums import file_sha256


def load_tokenizer(model: str, offline: bool = False) -> Any:
    """Load the model's fast tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model, local_files_only=offline)


def load_teacher(model: str, label_names: tuple[str, ...], fine_tuned: bool, seed: int, offline: bool = False) -> Any:
    """Load the classifier, with a new head where it will be fine-tuned.

    UsageError where a head that is not trained further does not fit the labels.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    attentions.register_attentions()
    is_known = load_family(AutoConfig.from_pretrained(model, local_files_only=offline).model_type).is_known
    torch.manual_seed(seed)  # a new head starts at random
    options: dict[str, Any] = {}
    if fine_tuned:
        options = {
            "num_labels": len(label_names),
            "id2label": dict(enumerate(label_names)),
            "label2id": {name: index for index, name in enumerate(label_names)},
            "ignore_mismatched_sizes": True,
        }
    loaded, info = AutoModelForSequenceClassification.from_pretrained(
        model,
        local_files_only=offline,
        attn_implementation=attentions.implementation_name("full") if is_known else "eager",
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    untrained = bool(info["missing_keys"]) and not fine_tuned
    _check_head(model, loaded.config.num_labels, label_names, untrained)
    return loaded.eval()


def _check_head(model: str, labels: int, label_names: tuple[str, ...], untrained: bool) -> None:
    if untrained:
        raise UsageError(
            f"teacher.model: {model!r} has no trained classification head; add `fine_tune: {{epochs: 3}}` under `teacher`"
        )
    if labels != len(label_names):
        raise UsageError(
            f"teacher.model: {model!r} has {labels} labels, but the data has {len(label_names)}"
            f" ({', '.join(label_names)}); use a model of this task, or add `fine_tune:` under `teacher`"
        )


def model_fingerprint(model: str) -> dict[str, str]:
    """Return the sha256 of each file that defines a local model; a hub name identifies itself."""
    folder = Path(model)
    if not folder.is_dir():
        return {"hub": model}
    patterns = ("config.json", "*.safetensors", "*.bin", "tokenizer*", "vocab*", "merges.txt", "*.model")
    return {path.name: file_sha256(path) for pattern in patterns for path in sorted(folder.glob(pattern))}


def save_teacher(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer as a transformers folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

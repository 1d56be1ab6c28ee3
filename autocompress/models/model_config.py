"""What a model's config says, read without torch: family, depth, labels. Errors name the place and the remedy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.core import registry
from autocompress.core.errors import UsageError

WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class ModelConfig:
    """The few facts that are needed before a model is loaded."""

    model_type: str
    layers: int
    positions: int  # the longest input, in tokens
    id2label: dict[int, str] | None  # null where the model only has transformers' LABEL_0, LABEL_1, …
    classifies: bool = True  # whether it was saved with a classifier


def read_config(model: str, place: str, offline: bool) -> ModelConfig:
    """The facts about a model folder or hub name; UsageError where it cannot be one or its family is not supported."""
    values = _folder_config(Path(model), place) if Path(model).is_dir() else _hub_config(model, place, offline)
    model_type = str(values.get("model_type"))
    family = check_family(model_type, place)
    layers = values.get("num_hidden_layers", values.get("n_layers"))
    names = {int(number): str(name) for number, name in (values.get("id2label") or {}).items()}
    meaningful = any(name != f"LABEL_{number}" for number, name in names.items())
    positions = int(values.get("max_position_embeddings", 512))
    if family == "roberta":
        positions -= int(values.get("pad_token_id") or 0) + 1  # its first positions stand for padding
    classifies = any("SequenceClassification" in name for name in values.get("architectures") or ())
    return ModelConfig(model_type, int(layers or 0), positions, names if meaningful else None, classifies)


def check_family(model_type: str, place: str) -> str:
    """Name of the family file that knows this `model_type`; an unsupported one is an error that lists what there is."""
    known = {
        kind: name for name in registry.names("families") for kind in registry.literal("families", name, "MODEL_TYPES")
    }
    if model_type not in known:
        raise UsageError(
            f"{place}: the model family {model_type!r} is not supported; available: {', '.join(sorted(known))}"
            " (adding one is one file in autocompress/models/families)"
        )
    return known[model_type]


def _folder_config(folder: Path, place: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"{place}: the folder {folder} has no config.json; name a folder that transformers saved")
    if not any(found for kind in WEIGHTS for found in folder.glob(kind)):
        raise UsageError(f"{place}: the folder {folder} has no weights (model.safetensors or pytorch_model.bin)")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{place}: {path} is not JSON ({error}); save the model again") from None
    return values


def _hub_config(model: str, place: str, offline: bool) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        values: dict[str, Any] = AutoConfig.from_pretrained(model, local_files_only=offline).to_dict()
    except (OSError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"{place}: {model!r} is neither a folder here nor a model of the hub that can be reached ({first})"
        ) from None
    return values

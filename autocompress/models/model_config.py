"""Read a model's config without torch: family, depth, positions, labels. Errors name the key and the remedy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.core.errors import UsageError
from autocompress.models.families import load_family

WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class ModelConfig:
    """The facts that are needed before a model is loaded."""

    model_type: str
    layers: int
    positions: int  # the longest input, in tokens
    id2label: dict[int, str] | None  # null where the model only has transformers' LABEL_0, LABEL_1, …
    outputs: int = 2  # of its classifier; transformers means 2 where a config is silent
    architectures: tuple[str, ...] = ()  # the classes of transformers that it was saved as


def read_config(model: str, key_path: str, offline: bool) -> ModelConfig:
    """Read the config of a model folder or hub name.

    UsageError where there is no such model or where its family is not supported; `key_path` names the key in the message.
    """
    values = _read_folder(Path(model), key_path) if Path(model).is_dir() else _read_hub(model, key_path, offline)
    model_type = str(values.get("model_type"))
    family = load_family(model_type)
    layers = values.get("num_hidden_layers", values.get("n_layers"))
    names = {int(index): str(name) for index, name in (values.get("id2label") or {}).items()}
    meaningful = any(name != f"LABEL_{index}" for index, name in names.items())
    positions = int(values.get("max_position_embeddings", 512))
    if family.positions_follow_padding:
        positions -= int(values.get("pad_token_id") or 0) + 1
    architectures = tuple(map(str, values.get("architectures") or ()))
    return ModelConfig(
        model_type, int(layers or 0), positions, names if meaningful else None, len(names) or 2, architectures
    )


def _read_folder(folder: Path, key_path: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"{key_path}: the folder {folder} has no config.json; name a folder that transformers saved")
    if not any(next(folder.glob(pattern), None) for pattern in WEIGHTS):
        raise UsageError(f"{key_path}: the folder {folder} has no weights (model.safetensors or pytorch_model.bin)")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{key_path}: {path} is not JSON ({error}); save the model again") from None
    return values


def _read_hub(model: str, key_path: str, offline: bool) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        values: dict[str, Any] = AutoConfig.from_pretrained(model, local_files_only=offline).to_dict()
    except (OSError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(
            f"{key_path}: {model!r} is neither a local folder nor a model that the hub could provide ({first});"
            " check the name and the connection"
        ) from None
    return values

"""Read a model's config: family, depth, positions, labels. Errors name the key and the remedy.

It imports torch only for a model whose family has no file: transformers' tables say whether that is an encoder of text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.core.errors import UsageError
from autocompress.models.families import count_layers, load_family

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
    is_known: bool = True  # whether its family has a file, so that its layers can be taken apart

    def describe_limits(self) -> str | None:
        """Return one sentence about what cannot be searched; None where everything can."""
        return None if self.is_known else describe_unknown_family(self.model_type)


def read_config(model: str, key_path: str, offline: bool) -> ModelConfig:
    """Read the config of a model folder or hub name.

    UsageError where there is no such model, or where it is no encoder of text; `key_path` names the key in the message.
    """
    values = _read_folder(Path(model), key_path) if Path(model).is_dir() else _read_hub(model, key_path, offline)
    model_type = str(values.get("model_type"))
    family = load_family(model_type)
    _check_encoder(values, model_type, key_path, family.is_known)
    family.check(values, key_path)
    names = {int(index): str(name) for index, name in (values.get("id2label") or {}).items()}
    meaningful = any(name != f"LABEL_{index}" for index, name in names.items())
    positions = int(values.get("max_position_embeddings", 512))
    if family.positions_follow_padding:
        positions -= int(values.get("pad_token_id") or 0) + 1
    architectures = tuple(map(str, values.get("architectures") or ()))
    return ModelConfig(
        model_type=model_type,
        layers=count_layers(values),
        positions=positions,
        id2label=names if meaningful else None,
        outputs=len(names) or 2,
        architectures=architectures,
        is_known=family.is_known,
    )


def describe_unknown_family(model_type: str) -> str:
    """Return one sentence about what is searched of a model whose family has no file."""
    return (
        f"autocompress has no file for the family {model_type!r}: its layers stay whole, and only bits are searched, on"
        " transformers' own forward pass"
    )


def _check_encoder(values: Mapping[str, object], model_type: str, key_path: str, is_known: bool) -> None:
    """Raise UsageError for decoders, encoder-decoders and models of other things than text."""
    kind = "a decoder" if values.get("is_decoder") else None
    kind = "an encoder-decoder" if values.get("is_encoder_decoder") else kind
    if kind is None and not is_known:
        from transformers.models.auto import modeling_auto as auto

        text = (*auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, *auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
        if model_type in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            kind = "an encoder-decoder"
        elif (
            model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
            and model_type not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        ):
            kind = "a decoder"
        elif model_type not in (*text, *auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES):
            kind = "no model of text that transformers knows"
    if kind is not None:
        raise UsageError(f"{key_path}: {model_type!r} is {kind}; name an encoder, such as BERT, ModernBERT or DeBERTa")


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

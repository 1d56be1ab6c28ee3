"""The transformers form of a candidate: safetensors and config, for those who want to train on or read the weights.

transformers itself cannot load it, because layers keep different numbers of heads and neurons; `load_model` can.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autocompress.errors import UsageError

if TYPE_CHECKING:
    from autocompress.surgery import Candidate

WEIGHTS = "model.safetensors"
KEY = "autocompress"  # of config.json: heads and neurons of each layer, and the attention


def save_candidate(candidate: Candidate, tokenizer: Any, pairs: bool, folder: Path) -> None:
    """Fill `folder` with weights (fp32: bits are a matter of deployment), config, tokenizer and recipe."""
    from safetensors.torch import save_file

    from autocompress import deploy

    weights = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    deploy.write_companions(candidate, tokenizer, pairs, folder)


def load_model(folder: str | Path) -> Any:
    """The transformers model in a folder that `export --form transformers` wrote, ready to run (`eval`).

    Shapes come from config.json; every weight must fit, and none may be missing. It gives the very logits that the
    candidate gave. UsageError where the folder holds no such model.
    """
    import transformers
    from safetensors.torch import load_file

    from autocompress import attentions

    folder = Path(folder)
    _check(folder)
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    kept = getattr(config, KEY, None)
    if not isinstance(kept, dict):
        raise UsageError(f"{folder / 'config.json'}: there is no key {KEY!r}; load_model reads what export wrote")
    attentions.register()
    implementation = attentions.implementation(kept["attention"])
    build: Any = transformers.AutoModelForSequenceClassification.from_config  # transformers types only half of itself
    model = build(config, attn_implementation=implementation)
    _slice(model, kept["heads"], kept["neurons"])
    model.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    return model.eval()


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    if not (folder / WEIGHTS).is_file():
        other = any((folder / name).is_file() for name in ("model.onnx", "model.pt2"))
        remedy = (
            "it is the form of a runtime; export again with --form transformers"
            if other
            else "name a folder export wrote"
        )
        raise UsageError(f"{folder}: there is no {WEIGHTS}; {remedy}")


def _slice(model: Any, heads: list[int], neurons: list[int]) -> None:
    """Give every layer the shapes it was saved with; the values come from the file."""
    from autocompress.families import family_of
    from autocompress.surgery import keep_heads, keep_neurons

    family = family_of(model.config.model_type, "config.json: model_type")
    for layer, head_count, neuron_count in zip(family.layers(model), heads, neurons, strict=True):
        keep_heads(family, layer, np.arange(head_count))
        keep_neurons(family, layer, np.arange(neuron_count))

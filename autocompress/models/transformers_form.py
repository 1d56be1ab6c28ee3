"""Load the transformers form of a candidate.

Layers keep different numbers of heads and neurons, which no class of transformers knows; `compressed.py` shapes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autocompress.core import registry
from autocompress.core.errors import UsageError
from autocompress.models import attentions

WEIGHTS = "model.safetensors"
KEY = "autocompress"  # of config.json: shapes of each layer, names of its parts, and the attention


def load_model(folder: str | Path) -> Any:
    """The transformers model in a folder that `export --form transformers` wrote, ready to run (`eval`).

    Shapes come from config.json; every weight must fit, and none may be missing (RuntimeError). It gives the very logits that
    the candidate gave. UsageError where the folder holds no such model.
    """
    import transformers
    from safetensors.torch import load_file

    from autocompress.models.compressed import Compressed

    folder = Path(folder)
    _check(folder)
    config: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    kept = getattr(config, KEY, None)
    if not isinstance(kept, dict) or "modules" not in kept:
        raise UsageError(
            f"{folder / 'config.json'}: there is no key {KEY!r} with modules; load_model reads what export wrote"
        )
    variant = registry.load("attentions", kept["attention"])
    name = next(iter(config.architectures or ()), "")
    base = getattr(transformers, name.removeprefix("Compressed"), None)
    if not (isinstance(base, type) and issubclass(base, transformers.PreTrainedModel)):
        raise UsageError(
            f"{folder / 'config.json'}: architectures: {name!r} is no model of transformers, compressed or not"
        )
    attention = (attentions.implementation(kept["attention"]), variant.attend, variant.mask)
    model: Any = type(name, (Compressed, base), {"attention": attention})(config)
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

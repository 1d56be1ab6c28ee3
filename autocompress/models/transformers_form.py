"""Load a candidate that was exported in the transformers form.

No class of transformers supports layers with different numbers of heads and neurons; `compressed.py` adds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autocompress.core.errors import UsageError
from autocompress.models import attentions
from autocompress.models.attentions import ATTENTIONS
from autocompress.models.families import load_family
from autocompress.models.model_types import Config, Model

WEIGHTS = "model.safetensors"
CONFIG_KEY = "autocompress"  # key of config.json: shapes of each layer, names of its modules, and the attention


def load_model(folder: str | Path) -> Model:
    """Load the transformers model of a folder that `export --form transformers` wrote, in `eval` mode.

    It returns exactly the candidate's logits. config.json gives the shapes. RuntimeError where a weight is missing or does
    not fit; UsageError where the folder holds no such model.
    """
    import transformers
    from safetensors.torch import load_file

    from autocompress.models.compressed import Compressed

    folder = Path(folder)
    _check_folder(folder)
    config: Config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    shapes = getattr(config, CONFIG_KEY, None)
    if not isinstance(shapes, dict) or "modules" not in shapes:
        raise UsageError(
            f"{folder / 'config.json'}: no key {CONFIG_KEY!r} with `modules`; name a folder that export wrote"
        )
    name = next(iter(config.architectures or ()), "")
    base = getattr(transformers, name.removeprefix("Compressed"), None)
    if not (isinstance(base, type) and issubclass(base, transformers.PreTrainedModel)):
        raise UsageError(
            f"{folder / 'config.json'}: architectures: {name!r} is no model of transformers; name a folder that export wrote"
        )
    model: Model = type(name, (Compressed, base), _class_attributes(shapes, config.model_type))(config)
    model.load_state_dict(load_file(folder / WEIGHTS), strict=True)
    return model.eval()


def _class_attributes(shapes: Mapping[str, str], model_type: str) -> dict[str, object]:
    """Return what the class of a model adds to transformers': its attention, and what its family adapts."""
    family = load_family(model_type)
    if not family.is_known:
        return {}
    variant = ATTENTIONS.load(shapes["attention"])
    name = attentions.implementation_name(shapes["attention"])
    adapter = {} if family.adapter is None else {"adapt": family.adapter.adapt}
    return {"attention": (name, variant.attend, variant.mask), **adapter}


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    if not (folder / WEIGHTS).is_file():
        has_artifact = any((folder / name).is_file() for name in ("model.onnx", "model.pt2"))
        remedy = (
            "the folder holds a runtime's model; export again with --form transformers"
            if has_artifact
            else "name a folder that export wrote"
        )
        raise UsageError(f"{folder}: no file {WEIGHTS}; {remedy}")

"""Save a candidate in the transformers form: safetensors, config and the code that loads them.

config.json names a class in the folder (a copy of `compressed.py` is beside it), which transformers loads with
`trust_remote_code=True`. `load_model` uses the installed class instead.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.core import registry
from autocompress.deployment.companion_files import write_companion_files
from autocompress.models import attentions
from autocompress.models.transformers_form import CONFIG_KEY, WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from autocompress.models.candidate import Candidate
    from autocompress.tasks import ModelInterface

CODE = "modeling_autocompress"
ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_out")


def save_candidate(candidate: Candidate, tokenizer: Any, interface: ModelInterface, folder: Path) -> None:
    """Write weights (fp32, since only deployment quantizes), config, code, tokenizer and recipe to `folder`."""
    from safetensors.torch import save_file

    weights = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    write_companion_files(candidate, tokenizer, interface, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    base = type(candidate.model).__name__
    config[CONFIG_KEY] |= _describe_modules(candidate)
    config["architectures"] = [f"Compressed{base}"]
    config["auto_map"] = {interface.auto_model: f"{CODE}.Compressed{base}"}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_code(base, config[CONFIG_KEY]["attention"], folder)


def _describe_modules(candidate: Candidate) -> dict[str, Any]:
    """Return the size of a head and the module names of the parts in this family's models."""
    layers = candidate.family.layers(candidate.model)
    parts = candidate.family.parts(layers[0])
    within = {role: _find_module_name(getattr(parts, role), layers[0]) for role in ROLES}
    return {"head_size": parts.head_size, "modules": {"layers": _find_module_name(layers, candidate.model), **within}}


def _find_module_name(module: nn.Module, within: nn.Module) -> str:
    names: Iterator[str] = (name for name, submodule in within.named_modules() if submodule is module)
    return next(names)


def _write_code(base: str, attention: str, folder: Path) -> None:
    """Write the class that config.json names and copies of the files it imports; `full` attention is transformers' own."""
    from transformers.dynamic_module_utils import get_relative_import_files

    from autocompress.models import compressed

    sources, body = [compressed.__file__], "pass"
    imports = [f"from transformers import {base}", "", "from .compressed import Compressed"]
    if attention != "full":
        variant = registry.load("attentions", attention).__file__
        assert variant is not None  # a module of a package on disk
        sources += [variant, *get_relative_import_files(variant)]
        imports.append(f"from .{attention} import attend, mask")
        body = f'attention = ("{attentions.implementation_name(attention)}", attend, mask)'
    docstring = '"""The class of this model, for transformers with trust_remote_code=True."""'
    lines = [docstring, "", *imports, "", "", f"class Compressed{base}(Compressed, {base}):", f"    {body}", ""]
    (folder / f"{CODE}.py").write_text("\n".join(lines), encoding="utf-8")
    for source in sources:
        shutil.copyfile(source, folder / Path(source).name)

"""Save the transformers form of a candidate: safetensors, config and the code that loads them.

The folder names a class of its own (`compressed.py` is copied into it), which transformers takes with
`trust_remote_code=True`; `load_model` takes the installed one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.core import registry
from autocompress.deployment.deploy import write_companions
from autocompress.models import attentions
from autocompress.models.transformers_form import KEY, WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from autocompress.models.slicing import Candidate

CODE = "modeling_autocompress"
ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_out")


def save_candidate(candidate: Candidate, tokenizer: Any, pairs: bool, folder: Path) -> None:
    """Fill `folder` with weights (fp32: bits are a matter of deployment), config, code, tokenizer and recipe."""
    from safetensors.torch import save_file

    weights = {name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    write_companions(candidate, tokenizer, pairs, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    base = type(candidate.model).__name__
    config[KEY] |= _anatomy(candidate)
    config["architectures"] = [f"Compressed{base}"]
    config["auto_map"] = {"AutoModelForSequenceClassification": f"{CODE}.Compressed{base}"}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_code(base, config[KEY]["attention"], folder)


def _anatomy(candidate: Candidate) -> dict[str, Any]:
    """Size of a head, and what the parts are called in this family's models."""
    layers = candidate.family.layers(candidate.model)
    parts = candidate.family.parts(layers[0])
    within = {role: _name_of(getattr(parts, role), layers[0]) for role in ROLES}
    return {"head_size": parts.head_size, "modules": {"layers": _name_of(layers, candidate.model), **within}}


def _name_of(module: nn.Module, within: nn.Module) -> str:
    named: dict[int, str] = {id(one): name for name, one in within.named_modules()}
    return named[id(module)]


def _write_code(base: str, attention: str, folder: Path) -> None:
    """The class that config.json names, and copies of the files it needs; `full` attention is transformers' own."""
    from transformers.dynamic_module_utils import get_relative_import_files

    from autocompress.models import compressed

    sources, lines, body = [compressed.__file__], [f"from transformers import {base}", ""], "pass"
    lines.append("from .compressed import Compressed")
    if attention != "full":
        variant = registry.load("attentions", attention).__file__
        assert variant is not None  # a module of a package on disk
        sources += [variant, *get_relative_import_files(variant)]
        lines.append(f"from .{attention} import attend, mask")
        body = f'attention = ("{attentions.implementation(attention)}", attend, mask)'
    head = '"""The class of this model, for transformers with trust_remote_code=True."""'
    lines = [head, "", *lines, "", "", f"class Compressed{base}(Compressed, {base}):", f"    {body}", ""]
    (folder / f"{CODE}.py").write_text("\n".join(lines), encoding="utf-8")
    for source in sources:
        shutil.copyfile(source, folder / Path(source).name)

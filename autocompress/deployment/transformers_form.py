"""Save a candidate in the transformers form: safetensors, config and the code that loads them.

config.json names a class in the folder (a copy of `compressed.py` is beside it), which transformers loads with
`trust_remote_code=True`. `load_model` uses the installed class instead.
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocompress.deployment.companion_files import write_companion_files
from autocompress.models import attentions
from autocompress.models.attentions import ATTENTIONS
from autocompress.models.families import Adapter
from autocompress.models.linear_maps import whole_linear
from autocompress.models.transformers_form import CONFIG_KEY, WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from autocompress.models.candidate import Candidate
    from autocompress.tasks import ModelInterface

CODE = "modeling_autocompress"
ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_gate", "ffn_out")


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
    _write_code(base, config[CONFIG_KEY]["attention"], candidate.family.adapter, folder)


def _describe_modules(candidate: Candidate) -> dict[str, object]:
    """Return the size of a head, the module names of the parts in this family's models, and what its adapter needs."""
    family, model = candidate.family, candidate.model
    if not family.is_known:
        return {"modules": {}}
    layers, parts = family.layers(model), family.parts(model)[0]
    linears = {role: getattr(parts, role) for role in ROLES if getattr(parts, role) is not None}
    within = {role: _find_module_name(whole_linear(linear), layers[0]) for role, linear in linears.items()}
    facts = {} if family.adapter is None else family.adapter.describe(model)
    names = {"layers": _find_module_name(layers, model), **within}
    return {"head_size": parts.head_size, "modules": names, **facts}


def _find_module_name(module: nn.Module, within: nn.Module) -> str:
    names: Iterator[str] = (name for name, submodule in within.named_modules() if submodule is module)
    return next(names)


def _write_code(base: str, attention: str, adapter: Adapter | None, folder: Path) -> None:
    """Write the class that config.json names and copies of the files it imports; `full` attention is transformers' own."""
    from autocompress.models import compressed

    sources, body = [compressed.__file__], []
    imports = [f"from transformers import {base}", "", "from .compressed import Compressed"]
    if attention != "full":
        sources += _list_sources(ATTENTIONS.load(attention).attend)
        imports.append(f"from .{attention} import ATTENTION")
        name = attentions.implementation_name(attention)
        body.append(f'attention = ("{name}", ATTENTION.attend, ATTENTION.mask)')
    if adapter is not None:
        sources += _list_sources(adapter.adapt)
        imports.append(f"from .{Path(sources[-1]).stem} import adapt")
        body.append("adapt = adapt")
    docstring = '"""The class of this model, for transformers with trust_remote_code=True."""'
    lines = [docstring, "", *imports, "", "", f"class Compressed{base}(Compressed, {base}):"]
    code = "\n".join([*lines, *(f"    {line}" for line in body or ["pass"]), ""])
    (folder / f"{CODE}.py").write_text(code, encoding="utf-8")
    for source in sources:
        shutil.copyfile(source, folder / Path(source).name)


def _list_sources(function: Callable[..., object]) -> list[str]:
    """Return the file of a function, after the files of its folder that it imports."""
    from transformers.dynamic_module_utils import get_relative_import_files

    file = inspect.getsourcefile(function)
    assert file is not None  # a module of a package on disk
    return [*map(str, get_relative_import_files(file)), file]

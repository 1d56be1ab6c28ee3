"""The transformers form of a model: saved, loaded and refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import autocompress
from autocompress.actions.verify import verify_folder
from autocompress.core.errors import UsageError
from autocompress.core.recipe import Recipe
from autocompress.deployment.transformers_form import save_candidate
from autocompress.interfaces.cli import main
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView
from autocompress.techniques.building import build_candidate
from tests.conftest import Searched
from tests.models import interface, tiny_batch, tiny_candidate, tiny_importance, tiny_model
from tests.tiny import FAMILIES, is_defined, tiny_tokenizer

pytest_plugins = ["tests.exported"]

RECIPES: list[dict[str, Any]] = [
    {"depth": 2, "head_sparsity": 0.5, "ffn_sparsity": 0.6},
    {"attention": "local", "attention_window": 4, "head_sparsity": 0.3},
    {"depth": 1, "attention": "linear", "ffn_sparsity": 0.25},
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("decisions", RECIPES, ids=["sliced", "local", "linear"])
def test_load_model_gives_the_candidate_logits(family: str, decisions: dict[str, Any], tmp_path: Path) -> None:
    if not is_defined(family, **decisions):
        pytest.skip("undefined, and refused by name")
    candidate = tiny_candidate(family, **decisions)
    save_candidate(candidate, tiny_tokenizer(family), interface(), tmp_path)
    loaded = autocompress.load_model(tmp_path)
    batch = tiny_batch(family)
    with torch.no_grad():
        expected, logits = candidate.model(**batch).logits, loaded(**batch).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    assert not loaded.training
    assert AutoTokenizer.from_pretrained(tmp_path)("good film").input_ids
    assert "/" not in json.loads((tmp_path / "config.json").read_text()).get("_name_or_path", "")


LOADS_WITHOUT_AUTOCOMPRESS = """
import json, sys
sys.modules["autocompress"] = None  # importing it now fails
import numpy, torch
import transformers
worst = {}
for folder in sys.argv[1:]:
    (auto_class,) = json.load(open(folder + "/config.json"))["auto_map"]
    load = getattr(transformers, auto_class).from_pretrained
    model = load(folder, trust_remote_code=True)
    model.save_pretrained(folder + "/again")
    again = load(folder + "/again", trust_remote_code=True)
    with numpy.load(folder + "/expected.npz") as kept, torch.no_grad():
        ids, mask = torch.from_numpy(kept["ids"]), torch.from_numpy(kept["mask"])
        outputs = [loaded(input_ids=ids, attention_mask=mask)[0].numpy() for loaded in (model, again)]
        worst[folder] = max(float(numpy.abs(logits - kept["logits"]).max()) for logits in outputs)
print(json.dumps(worst))
"""


@pytest.mark.slow
def test_transformers_loads_an_export_without_autocompress(tmp_path: Path) -> None:
    folders = []
    for family in FAMILIES:
        importance = tiny_importance(tiny_model(family), family)
        heads = ("AutoModelForSequenceClassification", "AutoModelForTokenClassification", "AutoModel")
        for head, decisions in zip(heads, RECIPES, strict=True):
            defined = decisions if is_defined(family, **decisions) else {"depth": 1, "ffn_sparsity": 0.25}
            folder = tmp_path / f"{family}{head}"
            folder.mkdir()
            model, batch = tiny_model(family, head), tiny_batch(family)
            candidate = build_candidate(model, Recipe(**{"depth": 3, **defined}), importance)
            save_candidate(candidate, tiny_tokenizer(family), replace(interface(), auto_model=head), folder)
            assert list(json.loads((folder / "config.json").read_text())["auto_map"]) == [head]
            with torch.no_grad():
                logits = candidate.model(**batch)[0].numpy()
                np.testing.assert_array_equal(autocompress.load_model(folder)(**batch)[0].numpy(), logits)
            ids, mask = (batch[name].numpy() for name in ("input_ids", "attention_mask"))
            np.savez(folder / "expected.npz", ids=ids, mask=mask, logits=logits)
            folders.append(str(folder))
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    program = [sys.executable, "-c", LOADS_WITHOUT_AUTOCOMPRESS, *folders]
    done = subprocess.run(program, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    worst = json.loads(done.stdout)
    assert list(worst) == folders
    assert max(worst.values()) <= 1e-5


def test_load_model_refuses_missing_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_candidate(tiny_candidate("bert", head_sparsity=0.5), tiny_tokenizer("bert"), interface(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if "query.weight" in name)
    save_file({key: value for key, value in weights.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=re.escape(name)):
        autocompress.load_model(tmp_path)


def test_load_model_refuses_other_folders(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        autocompress.load_model(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="--form transformers"):
        autocompress.load_model(exported)
    save_candidate(tiny_candidate("bert"), tiny_tokenizer("bert"), interface(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong in ([], ["pipeline"], ["CompressedBert"]):
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": wrong}))
        with pytest.raises(UsageError, match="architectures: "):
            autocompress.load_model(tmp_path)


def test_transformers_export_gives_the_measured_logits(
    searched: Searched,
    view: StudyView,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = next(row for row in view.rows if row.state == "complete" and row.trial and row.recipe["weight_bits"] == 32)
    to = tmp_path / "torch"
    arguments = [
        "export",
        str(searched.file),
        "--trial",
        str(row.trial),
        "--form",
        "transformers",
        "--to",
        str(to),
        "-q",
    ]
    assert main(arguments) == 0
    assert verify_folder(to).passed
    model = autocompress.load_model(to)
    assert view.artifacts is not None
    with np.load(Store(view.artifacts).artifact(row.sha256 or "") / "check.npz") as check, torch.no_grad():
        for number in range(3):
            logits = model(input_ids=torch.from_numpy(check[f"input_ids_{number}"])).logits
            np.testing.assert_allclose(logits.numpy(), check[f"logits_{number}"], atol=1e-4)
    card = (to / "README.md").read_text()
    assert "autocompress.load_model" in card
    assert "All numbers are of the ONNX form" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(to)
    capsys.readouterr()
    exec(code[1], {})  # in this process: importing torch in a new process takes seconds
    assert capsys.readouterr().out.strip() in {"0", "1"}

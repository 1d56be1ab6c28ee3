"""A model whose family has no file: it is searched by bits alone, on transformers' own forward pass; the user is told so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autocompress
from autocompress.actions.study_template import make_study_template
from autocompress.actions.verify import verify_folder
from autocompress.config import read_plan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.recipe import Recipe
from autocompress.deployment.transformers_form import save_candidate
from autocompress.models.candidate import Candidate
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.importance import measure_importance
from autocompress.models.model_config import read_config
from autocompress.runtimes import onnxruntime
from autocompress.search.plan_check import prepare
from autocompress.search.supervisor import run_search
from autocompress.study import read_study
from autocompress.techniques.building import build_candidate
from tests.conftest import run_cli
from tests.models import OBJECTIVE, deployed, interface, tiny_batch
from tests.test_search import Quiet
from tests.tiny import tiny_data, tiny_study, tiny_tokenizer

SENTENCE = "only bits are searched, on transformers' own forward pass"


def unknown_model(kind: str = "deberta-v2", head: str = "AutoModelForSequenceClassification") -> Any:
    """Build a random model whose layers differ from every block: DeBERTa's attention reads content and position apart."""
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    further: dict[str, Any] = {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=len(tiny_tokenizer("bert")), max_position_embeddings=66, initializer_range=0.3, pad_token_id=0,
        **sizes, **(further if kind == "deberta-v2" else {}),
    )  # fmt: skip
    model = getattr(transformers, head).from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        if hasattr(model, "classifier"):
            model.classifier.weight.mul_(4.0)
    return model


def unknown_candidate(model: Any, **bits: int) -> Candidate:
    family = load_family(model.config.model_type)
    importance = measure_importance(open_forward(model, family), [], OBJECTIVE)
    return build_candidate(model, Recipe(depth=2, **bits), importance)


@pytest.mark.parametrize("bits", [{}, {"weight_bits": 16}, {"weight_bits": 4, "embedding_bits": 8}], ids=str)
def test_artifact_has_the_logits_of_transformers(bits: dict[str, int], tmp_path: Path) -> None:
    model, batch = unknown_model(), tiny_batch("bert", rows=3, length=21)
    folder = deployed(unknown_candidate(model, **bits), tmp_path / "a")
    logits = onnxruntime.open_session(folder, 1).run({name: tensor.numpy() for name, tensor in batch.items()})
    with torch.no_grad():
        expected = model(**batch).logits.numpy()
    assert expected.std() > 0.5
    if bits.get("weight_bits") == 4:
        assert 1e-4 < np.abs(logits - expected).mean() < expected.std()
    else:
        np.testing.assert_allclose(logits, expected, atol=5e-2 if bits else 1e-4)


def test_tokens_and_pooled_sentences_work_too(tmp_path: Path) -> None:
    batch = tiny_batch("bert", rows=3, length=21)
    for head in ("AutoModelForTokenClassification", "AutoModel"):
        model = unknown_model(head=head)
        model.config.sentence_embedding = {"pooling": "mean", "normalize": True}
        folder = deployed(unknown_candidate(model), tmp_path / head)
        logits = onnxruntime.open_session(folder, 1).run({name: tensor.numpy() for name, tensor in batch.items()})
        with torch.no_grad():
            states = model(**batch)[0]
        if head == "AutoModel":
            weights = batch["attention_mask"][:, :, None].float()
            states = torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1))
        np.testing.assert_allclose(logits, states.numpy(), atol=1e-4)


def test_transformers_form_is_the_model_itself(tmp_path: Path) -> None:
    model, batch = unknown_model(), tiny_batch("bert")
    save_candidate(unknown_candidate(model), tiny_tokenizer("bert"), interface(), tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(autocompress.load_model(tmp_path)(**batch).logits, model(**batch).logits)


def test_operators_that_onnx_lacks_are_named(tmp_path: Path) -> None:
    import transformers

    config = transformers.AutoConfig.for_model(
        "fnet", vocab_size=80, hidden_size=32, num_hidden_layers=2, intermediate_size=64, max_position_embeddings=66
    )
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    with pytest.raises(AutocompressError, match=r"the family 'fnet' cannot be exported to ONNX"):
        deployed(unknown_candidate(model), tmp_path / "a")


def unknown_study(folder: Path) -> Path:
    """Write the file of a study of a teacher that is taken as it is."""
    model = unknown_model()
    model.save_pretrained(folder / "teacher")
    tiny_tokenizer("bert").save_pretrained(folder / "teacher")
    teacher = {"model": "./teacher"}
    return tiny_study(folder, teacher=teacher, space={"weight_bits": [32, 4], "embedding_bits": [32, 8]})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The file of such a study."""
    return unknown_study(tmp_path)


def test_structure_decisions_are_refused_with_the_way_out(study: Path) -> None:
    plan = read_plan(study, ["space={depth: [1, all], ffn_sparsity: [0, 0.5]}"])
    with pytest.raises(UsageError, match=r"depth, ffn_sparsity: .*'deberta-v2'.*use `space: bits`"):
        prepare(plan, offline=True)
    prepare(read_plan(study, ["space=bits"]), offline=True)
    prepare(read_plan(study, ["space={depth: all, weight_bits: [8]}"]), offline=True)


def test_read_config_and_init_say_what_is_searched(study: Path, tmp_path: Path) -> None:
    config = read_config(str(tmp_path / "teacher"), "teacher.model", offline=True)
    assert (config.is_known, config.layers) == (False, 2)
    assert SENTENCE in (config.describe_limits() or "")
    tiny_data(tmp_path / "data")
    template = make_study_template(str(tmp_path / "teacher"), str(tmp_path / "data"), tmp_path / "new.yaml", True, {})
    assert "space: bits" in template.text
    assert any(SENTENCE in reason for reason in template.reasons)


@pytest.mark.slow
def test_search_and_card_say_what_is_searched(study: Path, tmp_path: Path) -> None:
    display = Quiet()
    run_search(read_plan(study, ["budget.trials=2"]), display=display, offline=True)
    assert sum(SENTENCE in message for message in display.said) == 1
    view = read_study(f"sqlite:///{tmp_path / 'tiny' / 'study.db'}", "tiny")
    rows = [row for row in view.rows if row.state == "complete"]
    assert len(rows) >= 2
    trial = max(row.trial for row in rows)
    run_cli("export", str(study), "--trial", str(trial), "--to", str(tmp_path / "out"), "-q", cwd=tmp_path)
    assert SENTENCE in (tmp_path / "out" / "README.md").read_text()
    assert verify_folder(tmp_path / "out").passed
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["heads"] == []

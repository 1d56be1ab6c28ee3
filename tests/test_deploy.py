"""Artifacts for onnxruntime: their logits, sizes and files for the values of each technique."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from autocompress.core.errors import UsageError
from autocompress.core.stage import digest
from autocompress.core.technique import ordered_techniques
from autocompress.deployment.model_export import export_graph
from autocompress.formats.onnx_graph import OnnxGraph
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT
from autocompress.models.candidate import Candidate
from autocompress.runtimes import onnxruntime as runtime
from autocompress.storage.checksums import manifest
from autocompress.techniques.quantization._blocks import dequantize_blocks, quantize_blocks
from autocompress.techniques.stages import ExportContext, ExportTechnique
from tests.models import TOLERANCE_8_BITS, deployed, interface, tiny_batch, tiny_candidate
from tests.tiny import FAMILIES


def run_artifact(folder: Path, batch: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the logits of a default session."""
    return runtime.open_session(folder, 1).run({name: tensor.numpy() for name, tensor in batch.items()})


def run_transformers(candidate: Candidate, batch: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the logits of the model in transformers."""
    with torch.no_grad():
        logits: np.ndarray = candidate.model(**batch).logits.numpy()
        return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_artifact_returns_the_logits_of_torch_at_every_shape(family: str, tmp_path: Path) -> None:
    candidate = tiny_candidate(family, depth=2, head_sparsity=0.5, ffn_sparsity=0.5)
    folder = deployed(candidate, tmp_path / "a", family)
    for rows, length in ((1, 1), (1, 9), (3, 17), (5, 40)):
        batch = tiny_batch(family, rows, length) if rows < length else tiny_batch(family, rows, length + rows)
        np.testing.assert_allclose(run_artifact(folder, batch), run_transformers(candidate, batch), atol=1e-4)


@pytest.mark.parametrize(("attention", "window"), [("local", 4), ("linear", None)])
def test_artifact_returns_the_logits_of_other_attentions(attention: str, window: int | None, tmp_path: Path) -> None:
    candidate = tiny_candidate(attention=attention, attention_window=window)
    folder = deployed(candidate, tmp_path / "a")
    for rows, length in ((1, 3), (2, 9), (3, 33)):
        batch = tiny_batch("bert", rows, length)
        np.testing.assert_allclose(run_artifact(folder, batch), run_transformers(candidate, batch), atol=1e-4)


def test_artifact_of_pairs_reads_token_types(tmp_path: Path) -> None:
    candidate, batch = tiny_candidate(), tiny_batch("bert", pairs=True)
    folder = deployed(candidate, tmp_path / "a", pairs=True)
    np.testing.assert_allclose(run_artifact(folder, batch), run_transformers(candidate, batch), atol=1e-4)
    swapped = {**batch, "token_type_ids": 1 - batch["token_type_ids"]}
    assert np.abs(run_artifact(folder, swapped) - run_artifact(folder, batch)).max() > 1e-3


@pytest.mark.parametrize("bits", [16, 8, 4, 2])
def test_weight_bits_make_a_smaller_artifact_with_close_logits(bits: int, tmp_path: Path) -> None:
    wide = tiny_candidate()
    narrow = tiny_candidate(weight_bits=bits)
    batch = tiny_batch("bert", rows=4, length=20)
    exact = run_artifact(deployed(wide, tmp_path / "32"), batch)
    rough = run_artifact(deployed(narrow, tmp_path / "n"), batch)
    assert np.abs(rough - exact).max() < {16: 0.01, 8: TOLERANCE_8_BITS, 4: 1.0, 2: 4.0}[bits]
    assert not np.array_equal(rough, exact)
    assert (
        count_matrix_bytes(tmp_path / "n")
        < count_matrix_bytes(tmp_path / "32") * {16: 0.51, 8: 0.3, 4: 0.2, 2: 0.16}[bits] + 3000
    )


@pytest.mark.parametrize("bits", [8, 4])
def test_only_embedding_bits_quantize_the_tables(bits: int, tmp_path: Path) -> None:
    batch = tiny_batch("bert")
    exact = run_artifact(deployed(tiny_candidate(), tmp_path / "32"), batch)
    folder = deployed(tiny_candidate(embedding_bits=bits), tmp_path / "n")
    assert np.abs(run_artifact(folder, batch) - exact).max() < {8: 0.05, 4: 0.8}[bits]
    operators = [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]
    assert operators.count("GatherBlockQuantized") == 2  # words and positions
    assert "MatMulInteger" not in operators
    quantized = onnx.load(deployed(tiny_candidate(weight_bits=8), tmp_path / "w") / "model.onnx")
    assert "GatherBlockQuantized" not in [node.op_type for node in quantized.graph.node]


def count_matrix_bytes(folder: Path) -> int:
    """Count the bytes of the weights and scales outside the embedding tables."""
    graph = onnx.load(folder / "model.onnx").graph
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    return sum(len(tensor.raw_data) for tensor in graph.initializer if tensor.name not in tables)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("width", [32, 100, 129])
def test_quantize_blocks_is_exact_to_half_a_step(bits: int, width: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(7, width)).astype(np.float32)
    blocks = quantize_blocks(matrix, bits, 32)
    error = np.square(dequantize_blocks(blocks, bits, width) - matrix).mean()
    spread = matrix.max() - matrix.min()
    assert error < np.square(spread / (2**bits - 1)) / 4
    assert blocks.packed.shape == (7, -(-width // 32), 32 * bits // 8)


def test_quantize_blocks_keeps_zeros_and_exact_levels() -> None:
    exact = np.zeros((2, 32), np.float32)
    exact[1] = np.tile([0.0, 0.5, 1.0, 1.5], 8)
    np.testing.assert_allclose(dequantize_blocks(quantize_blocks(exact, 2, 32), 2, 32), exact, atol=1e-6)


ON_ONNXRUNTIME = ExportContext(ONNXRUNTIME_FORMAT, list)


def export_technique(name: str) -> ExportTechnique:
    technique = ordered_techniques()[name]
    assert isinstance(technique, ExportTechnique)
    return technique


@pytest.mark.parametrize("decision", ["weight_bits", "embedding_bits"])
def test_apply_rejects_bits_without_a_kernel(decision: str) -> None:
    with pytest.raises(UsageError, match="3 is not one of 32, "):
        export_technique(decision).apply(export_graph(tiny_candidate(), interface()), 3, ON_ONNXRUNTIME)


def test_simplify_graph_removes_operators_and_keeps_the_logits(tmp_path: Path) -> None:
    plain = export_graph(tiny_candidate(), interface())
    simplified = onnx.load(deployed(tiny_candidate(), tmp_path / "a") / "model.onnx")
    names = [node.op_type for node in simplified.graph.node]
    assert len(names) < 0.7 * len(plain.graph.node)
    assert names.count("Sum") == 7  # every addition before a norm, so that no default fusion matches
    assert not {"Range", "Cast", "Sub"} & set(names)  # positions are sliced from a constant, the mask is looked up
    assert names.count("Unsqueeze") == 1
    feeds = {name: tensor.numpy() for name, tensor in tiny_batch("bert", 3, 9).items()}
    before = runtime.OnnxSession(plain.SerializeToString(), 1).run(feeds)
    np.testing.assert_allclose(run_artifact(tmp_path / "a", tiny_batch("bert", 3, 9)), before, atol=1e-5)


def test_rewrite_removes_unread_nodes() -> None:
    plain = export_graph(tiny_candidate(), interface())
    view = OnnxGraph(plain)
    unread = onnx.helper.make_node("Identity", ["input_ids"], ["unread"])
    plain.graph.node.append(unread)
    view.rewrite(lambda node: None)
    assert all("unread" not in node.output for node in plain.graph.node)


def test_equal_candidates_have_equal_files(tmp_path: Path) -> None:
    """The store identifies artifacts by the digest of their files."""
    first, second = (deployed(tiny_candidate(weight_bits=4), tmp_path / name) for name in "ab")
    assert digest(manifest(first)) == digest(manifest(second))


def test_artifact_describes_the_candidate_and_names_no_local_folder(tmp_path: Path) -> None:
    folder = deployed(tiny_candidate(depth=2), tmp_path / "a")
    assert json.loads((folder / "recipe.json").read_text())["recipe"]["depth"] == 2
    assert json.loads((folder / "config.json").read_text())["autocompress"]["heads"] == [4, 4]
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    with np.load(folder / "check.npz") as check:
        session = runtime.open_session(folder, 1)
        ids = check["input_ids_1"]
        again = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        np.testing.assert_allclose(again, check["logits_1"], atol=1e-5)


def test_onnxruntime_supports_every_bit_width_here() -> None:
    assert runtime.supported()["weight_bits"] == (32, 16, 8, 4, 2)
    assert runtime.supported()["embedding_bits"] == (32, 8, 4)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [16, 24, 32, 312])
def test_embedding_bits_apply_to_tables_of_any_width(bits: int, width: int) -> None:
    """Some models have widths that are no multiple of a block: 312 in TinyBERT."""
    table = np.random.default_rng(0).normal(size=(20, width)).astype(np.float32)
    ids = np.array([[3, 19, 0]])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "input_ids"], ["rows"])],
        "lookup",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])],
        [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    export_technique("embedding_bits").apply(model, bits, ON_ONNXRUNTIME)
    rows = runtime.OnnxSession(model.SerializeToString(), 1).run({"input_ids": ids})
    np.testing.assert_allclose(rows, table[ids], atol={8: 0.03, 4: 0.5}[bits])

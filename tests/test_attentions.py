"""The contract of every attention variant, and each variant against a plain reference that is too slow to ship."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AttentionInterface, AutoModelForSequenceClassification, BertConfig

import autocompress
from autocompress.models.attentions import ATTENTIONS, implementation_name, register_attentions

HEADS, HEAD_DIM = 3, 8  # unlike any config: variants read the number of heads from the tensors
NAMES = ATTENTIONS.names()
WINDOWED = [name for name in NAMES if ATTENTIONS.load(name).needs_window]
each_variant = pytest.mark.parametrize("name", NAMES)


# The contract ---------------------------------------------------------------------------------------------------------


@each_variant
def test_attend_ignores_padding(name: str) -> None:
    query, key, value = states(batch=2, length=40)
    keep = torch.arange(40) < torch.tensor([[40], [23]])
    key[1, :, 23:] *= 50.0  # large values in the padding
    value[1, :, 23:] = 1e3
    padded = attend(name, query, key, value, keep, window=6)
    short = attend(name, query[1:, :, :23], key[1:, :, :23], value[1:, :, :23], None, window=6)
    torch.testing.assert_close(padded[1:, :23], short, atol=1e-5, rtol=1e-5)
    assert padded.isfinite().all()


@each_variant
def test_mask_of_ones_equals_no_mask(name: str) -> None:
    query, key, value = states(batch=2, length=21)
    masked = attend(name, query, key, value, torch.ones(2, 21, dtype=torch.bool), window=4)
    torch.testing.assert_close(masked, attend(name, query, key, value, None, window=4), atol=1e-6, rtol=1e-5)


@each_variant
def test_single_query_equals_the_first_row(name: str) -> None:
    query, key, value = states(batch=2, length=50)
    keep = torch.arange(50) < torch.tensor([[50], [31]])
    row = attend(name, query[:, :, :1], key, value, keep, window=4)
    assert row.shape == (2, 1, HEADS, HEAD_DIM)
    torch.testing.assert_close(row, attend(name, query, key, value, keep, window=4)[:, :1], atol=1e-6, rtol=1e-5)


@each_variant
def test_scale_can_be_folded_into_the_query(name: str) -> None:
    query, key, value = states(batch=1, length=20)
    explicit = attend(name, query, key, value, None, scaling=0.3)
    torch.testing.assert_close(explicit, attend(name, query * 0.3, key, value, None, scaling=1.0))
    default = attend(name, query, key, value, None, scaling=None)
    torch.testing.assert_close(default, attend(name, query, key, value, None, scaling=1 / math.sqrt(HEAD_DIM)))


@each_variant
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_are_finite_under_bf16_autocast(name: str, dropout: float) -> None:
    leaves = [tensor.clone().requires_grad_() for tensor in states(batch=3, length=37, spread=10.0)]
    query, key, value = leaves
    keep = torch.arange(37) < torch.tensor([[37], [1], [0]])  # all tokens, [CLS] alone, none
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = attend(name, query, key, value, keep, window=4, dropout=dropout)
    torch.autograd.backward(output.float().square().mean())
    assert output.isfinite().all()
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().sum() > 0


@each_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_output_has_the_type_of_the_query(name: str, dtype: torch.dtype) -> None:
    query, key, value = (tensor.to(dtype) for tensor in states(batch=1, length=9))
    keep = torch.ones(1, 9, dtype=torch.bool)  # its mask comes as float32, as from a model's float32 embeddings
    assert attend(name, query, key, value, keep, window=4).dtype == dtype


@each_variant
@pytest.mark.parametrize("opset", [17, 20])
def test_export_is_dynamic_in_batch_and_length(name: str, opset: int, tmp_path: Path) -> None:
    model = tiny_bert(name, window=6)
    file = export(Logits(model), tmp_path / "model.onnx", opset)
    session = onnxruntime.InferenceSession(file)
    for batch, length in [(1, 1), (1, 2), (3, 11), (2, 16), (1, 47), (4, 96)]:
        ids, keep = tokens(batch, length)
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=keep).logits.numpy()
        (actual,) = session.run(None, {"ids": ids.numpy(), "keep": keep.numpy()})
        np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4, err_msg=f"batch {batch}, length {length}")


@each_variant
def test_bert_returns_the_same_logits_with_padding(name: str) -> None:
    model = tiny_bert(name, window=6)
    ids, keep = tokens(2, 40)
    length = int(keep[-1].sum())
    assert length < 40
    with torch.no_grad():
        padded = model(input_ids=ids, attention_mask=keep).logits[-1:]
        torch.testing.assert_close(padded, model(input_ids=ids[-1:, :length]).logits, atol=1e-5, rtol=1e-4)
        other_padding = ids.masked_fill(keep == 0, 7)
        torch.testing.assert_close(padded, model(input_ids=other_padding, attention_mask=keep).logits[-1:])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "full"])
def test_cost_is_linear_in_length(name: str) -> None:
    """Count operations of products and the elements of the largest intermediate tensor, instead of measuring time."""
    short, long = measure_cost(name, 512), measure_cost(name, 2048)
    assert long.products / short.products == pytest.approx(4, rel=0.05)
    assert long.largest / short.largest == pytest.approx(4, rel=0.05)
    all_pairs = 2 * 2 * HEADS * HEAD_DIM * 2048**2  # scores and weighted sum, a multiplication and an addition each
    assert long.products < all_pairs / 10


@pytest.mark.parametrize("name", WINDOWED)
def test_window_over_all_tokens_equals_full_attention(name: str) -> None:
    query, key, value = states(batch=2, length=33)
    keep = torch.arange(33) < torch.tensor([[33], [20]])
    local = attend(name, query, key, value, keep, window=66)
    full = attend("full", query, key, value, keep)
    torch.testing.assert_close(local[0], full[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(local[1, :20], full[1, :20], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("window", [None, 1, 2.5])
def test_attend_names_a_missing_window(name: str, window: Any) -> None:
    query, key, value = states(batch=1, length=5)
    with pytest.raises(ValueError, match="attention_window"):
        attend(name, query, key, value, None, window=window)


# The registry ---------------------------------------------------------------------------------------------------------


def test_register_attentions_fills_both_interfaces_and_is_idempotent() -> None:
    from transformers import AttentionMaskInterface

    register_attentions()
    before = [AttentionInterface()[implementation_name(name)] for name in NAMES]
    register_attentions()
    assert [AttentionInterface()[implementation_name(name)] for name in NAMES] == before
    assert all(implementation_name(name) in AttentionMaskInterface() for name in NAMES)
    assert implementation_name("full") == "autocompress_full"


def test_attentions_package_imports_no_torch() -> None:
    program = (
        "import sys; from autocompress.models.attentions import ATTENTIONS; ATTENTIONS.entries();"
        " print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    root = Path(autocompress.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


# full -----------------------------------------------------------------------------------------------------------------


def test_full_returns_the_same_with_the_fused_kernel_and_plain_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (torch.randn(2, 3, 12, 8) for _ in range(3))
    keep = torch.arange(12) < torch.tensor([[12], [5]])
    plain = attend("full", query, key, value, keep)
    monkeypatch.setattr("autocompress.models.attentions.full.PLAIN_TOKENS", 0)
    torch.testing.assert_close(attend("full", query, key, value, keep), plain, atol=1e-5, rtol=1e-5)


def test_full_returns_the_logits_of_transformers_attention() -> None:
    model = tiny_bert("full")
    ids, keep = tokens(3, 30)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=keep).logits
        model.set_attn_implementation("eager")
        torch.testing.assert_close(logits, model(input_ids=ids, attention_mask=keep).logits, atol=1e-5, rtol=1e-4)


def test_full_exports_only_the_needed_operators(tmp_path: Path) -> None:
    core = {"MatMul": 2, "Softmax": 1, "Transpose": 2}
    assert count_operators("full", tmp_path, scaling=1.0, masked=True) == {**core, "Add": 1}
    assert count_operators("full", tmp_path, scaling=1.0, masked=False) == core
    assert count_operators("full", tmp_path, scaling=0.5, masked=True) == {**core, "Add": 1, "Mul": 1}


# local ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 140), window=st.integers(2, 50), padding=st.integers(0, 60), seed=st.integers(0, 9))
def test_local_equals_its_quadratic_reference(length: int, window: int, padding: int, seed: int) -> None:
    query, key, value = states(batch=2, length=length + padding, seed=seed)
    keep = torch.arange(length + padding) < torch.tensor([[length + padding], [length]])
    actual = attend("local", query, key, value, keep, window=window)
    expected = local_reference(query, key, value, keep, window)
    torch.testing.assert_close(actual[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(actual[1, :length], expected[1, :length], atol=1e-5, rtol=1e-5)
    assert actual.isfinite().all()


def local_reference(query: Tensor, key: Tensor, value: Tensor, keep: Tensor, window: int) -> Tensor:
    """Compute the scores of all pairs and mask those outside the band."""
    positions = torch.arange(query.shape[2])
    near = (positions[:, None] - positions).abs() <= window // 2
    visible = (near | (positions == 0) | (positions[:, None] == 0)) & keep[:, None, None]  # (batch, 1, queries, keys)
    scores = query @ key.transpose(2, 3) / math.sqrt(HEAD_DIM)
    return (scores.masked_fill(~visible, -1e9).softmax(-1) @ value).transpose(1, 2)


def test_local_computes_the_band_once_for_all_layers(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    file = export(Logits(tiny_bert("local", window=6, layers=3)), tmp_path / "model.onnx")
    onnxruntime.InferenceSession(file, options)
    nodes = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    assert nodes["Softmax"] == 6  # band and [CLS] row of three layers
    assert (nodes["Range"], nodes["Abs"], nodes["Pad"]) == (1, 1, 2)


# linear ---------------------------------------------------------------------------------------------------------------


def test_linear_equals_its_quadratic_reference() -> None:
    query, key, value = states(batch=2, length=30)
    keep = torch.arange(30) < torch.tensor([[30], [12]])
    features = [nn.functional.elu(states) + 1 for states in (query / math.sqrt(HEAD_DIM), key)]
    weights = features[0] @ features[1].transpose(2, 3) * keep[:, None, None]  # (batch, heads, queries, keys)
    expected = ((weights / weights.sum(-1, keepdim=True)) @ value).transpose(1, 2)
    torch.testing.assert_close(attend("linear", query, key, value, keep), expected, atol=1e-5, rtol=1e-5)


# Helpers --------------------------------------------------------------------------------------------------------------


def states(batch: int, length: int, spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw random query, key and value, each `(batch, HEADS, length, HEAD_DIM)`."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(3, batch, HEADS, length, HEAD_DIM, generator=generator) * spread).unbind()
    return query, key, value


def attend(
    name: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keep: Tensor | None,
    *,
    window: Any = 8,
    scaling: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Call a variant as a model does: convert the keep-mask `(batch, keys)` by its `mask`, then `attend`."""
    variant = ATTENTIONS.load(name)
    batch, _, queries, _ = query.shape
    keys = key.shape[2]
    mask = variant.mask(batch_size=batch, q_length=queries, kv_length=keys, attention_mask=keep, dtype=torch.float32)
    module = SimpleNamespace(config=SimpleNamespace(attention_window=window), training=dropout > 0)
    output, attention_weights = variant.attend(
        module, query, key, value, mask, scaling=scaling, dropout=dropout, is_causal=False
    )
    assert attention_weights is None
    assert output.shape == (batch, queries, value.shape[1], value.shape[3])
    return output


class Attention(nn.Module):
    """A module that only computes attention, for export."""

    def __init__(self, name: str, scaling: float) -> None:
        super().__init__()
        self.name, self.scaling = name, scaling

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        output, _ = ATTENTIONS.load(self.name).attend(self, query, key, value, mask, scaling=self.scaling)
        return output


def count_operators(name: str, folder: Path, scaling: float, masked: bool) -> dict[str, int]:
    """Count each operator of the exported attention."""
    inputs = (*states(batch=2, length=7), *([torch.zeros(2, 1, 1, 7)] if masked else []))
    file = str(folder / "attention.onnx")
    names = ["query", "key", "value", "mask"][: len(inputs)]
    torch.onnx.export(
        Attention(name, scaling).eval(),
        inputs,
        file,
        dynamo=False,
        opset_version=17,
        input_names=names,
        dynamic_axes={tensor: {0: "batch", 2: "length"} for tensor in names[:3]},
    )
    return dict(Counter(node.op_type for node in onnx.load(file).graph.node if node.op_type != "Constant"))


class Logits(nn.Module):
    """A classifier with tensors as inputs and output, as the exporter needs it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, keep: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, attention_mask=keep).logits
        return logits


def tiny_bert(name: str, window: int | None = None, layers: int = 2) -> Any:
    """Build a random BERT whose weights are large enough for every token to change its logits."""
    register_attentions()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60,
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.4,
    )
    config.attention_window = window
    return AutoModelForSequenceClassification.from_config(config, attn_implementation=implementation_name(name)).eval()


def tokens(batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Draw token ids and a keep-mask `(batch, length)`; half of the last row is padding."""
    ids = torch.randint(0, 60, (batch, length), generator=torch.Generator().manual_seed(length))
    keep = torch.ones_like(ids)
    keep[-1, (length + 1) // 2 :] = 0
    return ids, keep


def export(model: nn.Module, file: Path, opset: int = 17) -> str:
    """Export the classifier, traced at (2, 13), with dynamic batch and length."""
    dynamic = {0: "batch", 1: "length"}
    torch.onnx.export(
        model.eval(),
        tokens(2, 13),
        str(file),
        dynamo=False,
        opset_version=opset,
        input_names=["ids", "keep"],
        output_names=["logits"],
        dynamic_axes={"ids": dynamic, "keep": dynamic, "logits": {0: "batch"}},
    )
    return str(file)


class Largest(TorchDispatchMode):
    """Record the size of the largest tensor that any operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def measure_cost(name: str, length: int) -> SimpleNamespace:
    """Return `products` (floating-point operations of matrix products) and `largest` (elements) of one attention."""
    query, key, value = states(batch=1, length=length)
    keep = torch.ones(1, length, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, Largest() as largest:
        attend(name, query, key, value, keep, window=32)
    return SimpleNamespace(products=counter.get_total_flops(), largest=largest.elements)

"""Importance of heads, neurons and layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.models.importance import Importance, load_importance, order_layer_removal, save_importance
from tests.models import OBJECTIVE, tiny_batch, tiny_importance, tiny_model


def test_importance_of_unread_heads_and_neurons_is_zero() -> None:
    model = tiny_model("bert")
    with torch.no_grad():
        model.bert.encoder.layer[1].attention.output.dense.weight[:, 8:16] = 0  # head 1
        model.bert.encoder.layer[0].output.dense.weight[:, 5] = 0
    importance = tiny_importance(model, "bert")
    assert importance.heads.shape == (3, 4)
    assert np.flatnonzero(importance.heads[1] == 0).tolist() == [1]
    assert np.flatnonzero(importance.neurons[0] == 0).tolist() == [5]


def test_order_layer_removal_starts_with_an_identity_layer() -> None:
    model = tiny_model("bert", layers=4)
    layer = model.bert.encoder.layer[2]
    with torch.no_grad():  # its output is 0, and its norms read an input that is normalized already
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight.zero_()
            dense.bias.zero_()
        for norm in (
            model.bert.encoder.layer[1].output.LayerNorm,
            layer.attention.output.LayerNorm,
            layer.output.LayerNorm,
        ):
            norm.weight.fill_(1.0)
            norm.bias.zero_()
    batches = [{**tiny_batch("bert"), "labels": torch.zeros(4, dtype=torch.int64)}]
    order = order_layer_removal(Forward(model, load_family("bert")), batches, OBJECTIVE)
    assert order[0] == 2
    assert sorted(order) == [0, 1, 2, 3]


def test_load_importance_returns_what_was_saved(tmp_path: Path) -> None:
    importance = Importance(np.ones((2, 3)), np.ones((2, 4)), (1, 0))
    path = tmp_path / "importance.npz"
    save_importance(importance, path)
    loaded = load_importance(path)
    assert loaded.removal == (1, 0)
    assert np.array_equal(loaded.heads, importance.heads)

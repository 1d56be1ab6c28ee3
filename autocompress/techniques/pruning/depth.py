"""Keep fewer layers, chosen by what giving each up costs on calibration rows."""

from __future__ import annotations

from torch import nn

from autocompress.models.slicing import Candidate, Importance

VERSION = 1


def apply(candidate: Candidate, value: int, importance: Importance) -> None:
    """Keep `value` layers: those that the measured order of removal gives up last, in their own order."""
    layers = candidate.family.layers(candidate.model)
    kept = sorted(importance.removal[len(layers) - value :])
    chosen = [layers[index] for index in kept]
    del layers[:]
    layers.extend(chosen)
    for number, layer in enumerate(layers):
        _renumber(layer, number)
    config = candidate.model.config
    setattr(config, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"), value)
    candidate.kept_layers = tuple(candidate.kept_layers[index] for index in kept)


def _renumber(layer: nn.Module, number: int) -> None:
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, "layer_idx", number)  # noqa: B010  # a plain number, whatever nn.Module is declared to hold

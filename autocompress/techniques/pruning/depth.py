"""Keep fewer layers, chosen by how much removing each one changes the predictions on calibration rows."""

from __future__ import annotations

from torch import nn

from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance

VERSION = 1


def apply(candidate: Candidate, value: int, importance: Importance) -> None:
    """Keep the `value` layers that come last in the measured order of removal; their sequence stays the same."""
    layers = candidate.family.layers(candidate.model)
    kept = sorted(importance.removal[len(layers) - value :])
    kept_modules = [layers[index] for index in kept]
    del layers[:]
    layers.extend(kept_modules)
    for index, layer in enumerate(layers):
        _set_layer_index(layer, index)
    config = candidate.model.config
    setattr(config, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"), value)
    candidate.kept_layers = tuple(candidate.kept_layers[index] for index in kept)


def _set_layer_index(layer: nn.Module, index: int) -> None:
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, "layer_idx", index)  # noqa: B010  # nn.Module declares only tensors and modules as attributes

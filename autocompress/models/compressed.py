"""A transformers model whose layers keep different numbers of heads and neurons.

transformers gives every layer the same shapes. This mixin, put before one of its classes, builds that class's model and then
gives each layer the shapes that config.json lists under `autocompress`. A folder that `export --form transformers` wrote holds
a copy of this file, so that transformers loads it without autocompress (`trust_remote_code=True`); hence torch and transformers
are all it imports.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface

ROWS = ("query", "key", "value")  # of which a head is rows; of "output" it is columns


class Compressed:
    """Put it before a class of transformers: `class Small(Compressed, BertForSequenceClassification)`.

    `config.autocompress`: `heads` and `neurons`, a number for each layer; `head_size`; `modules`, the names of the list of
    layers (`layers`) and, within a layer, of the linear maps `query`, `key`, `value`, `output`, `ffn_in` and `ffn_out`.
    """

    attention: tuple[str, Callable[..., Any], Callable[..., Any]] | None = (
        None  # name, attend, mask; null: transformers' own
    )

    def __init__(self, config: Any, *inputs: Any, **kwargs: Any) -> None:
        if self.attention is not None:
            name, attend, mask = self.attention
            AttentionInterface.register(name, attend)
            AttentionMaskInterface.register(name, mask)
            config._attn_implementation = name
        super().__init__(config, *inputs, **kwargs)  # type: ignore[call-arg]  # of the class beside this one
        shapes = config.autocompress
        names = shapes["modules"]
        layers: Any = self.get_submodule(names["layers"])  # type: ignore[attr-defined]  # likewise
        for layer, heads, neurons in zip(layers, shapes["heads"], shapes["neurons"], strict=True):
            width = heads * shapes["head_size"]
            for part in ROWS:
                _replace(layer, names[part], outputs=width)
            _replace(layer, names["output"], inputs=width)
            _replace(layer, names["ffn_in"], outputs=neurons)
            _replace(layer, names["ffn_out"], inputs=neurons)


def _replace(layer: nn.Module, name: str, inputs: int | None = None, outputs: int | None = None) -> None:
    """Put a linear map of other shapes in the place of one; its values come from the file."""
    parent, _, own = name.rpartition(".")
    old: Any = layer.get_submodule(name)
    new = nn.Linear(inputs or old.in_features, outputs or old.out_features, bias=old.bias is not None)
    setattr(layer.get_submodule(parent), own, new.to(old.weight.device, old.weight.dtype))

"""A transformers model whose layers keep different numbers of heads and neurons.

transformers gives every layer the same shapes. This mixin stands before one of its classes, builds the model of that class, and
then gives each layer the shapes that config.json lists under `autocompress`. A folder that `export --form transformers` wrote
holds a copy of this file, so that transformers loads the model without autocompress (`trust_remote_code=True`). The file
therefore imports only torch and transformers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface

HEAD_ROWS = ("query", "key", "value")  # a head is rows of these matrices and columns of "output"
NEURON_ROWS = ("ffn_in", "ffn_gate")  # a neuron is a row of these and a column of "ffn_out"


class Compressed:
    """A mixin for a class of transformers: `class Small(Compressed, BertForSequenceClassification)`.

    `config.autocompress`: `heads` and `neurons`, one number per layer that runs; `head_size`; `modules`, the names of the list
    of layers (`layers`) and, within a layer, of the linear modules `query`, `key`, `value`, `output`, `ffn_in`, `ffn_out` and,
    where neurons have a gate, `ffn_gate`. One module may have several of these parts. No `modules`: the shapes are the class's.
    """

    # name, attend, mask; None: transformers' own attention
    attention: tuple[str, Callable[..., Any], Callable[..., Any]] | None = None
    # changes the model by other facts of config.autocompress
    adapt: ClassVar[Callable[[Any, Mapping[str, Any]], None] | None] = None

    def __init__(self, config: Any, *inputs: Any, **kwargs: Any) -> None:
        if self.attention is not None:
            name, attend, mask = self.attention
            AttentionInterface.register(name, attend)
            AttentionMaskInterface.register(name, mask)
            config._attn_implementation = name
        super().__init__(config, *inputs, **kwargs)  # type: ignore[call-arg]  # of transformers' class, next in the method order
        if getattr(config, "sentence_embedding", None):  # its pooling of all tokens replaces transformers' pooler
            self.pooler = None
        shapes = config.autocompress
        if names := shapes["modules"]:
            # a list of one shared layer is shorter than the numbers, which are then all equal
            layers: Any = self.get_submodule(names["layers"])  # type: ignore[attr-defined]  # of transformers' class, next in the method order
            for layer, heads, neurons in zip(layers, shapes["heads"], shapes["neurons"], strict=False):
                _reshape_layer(layer, names, heads * shapes["head_size"], neurons)
        if self.adapt is not None:
            self.adapt(shapes)


def _reshape_layer(layer: nn.Module, names: Mapping[str, str], width: int, neurons: int) -> None:
    """Give a layer's linear modules their shapes: `width` is that of all heads."""
    outputs: Counter[str] = Counter()
    for role, size in (*((role, width) for role in HEAD_ROWS), *((role, neurons) for role in NEURON_ROWS)):
        if role in names:
            outputs[names[role]] += size
    for name, size in outputs.items():
        _replace_linear(layer, name, outputs=size)
    _replace_linear(layer, names["output"], inputs=width)
    _replace_linear(layer, names["ffn_out"], inputs=neurons)


def _replace_linear(layer: nn.Module, name: str, inputs: int | None = None, outputs: int | None = None) -> None:
    """Replace a linear module of a layer by one of another shape; the state dict fills it later."""
    parent, _, attribute = name.rpartition(".")
    old: Any = layer.get_submodule(name)
    new = nn.Linear(inputs or old.in_features, outputs or old.out_features, bias=old.bias is not None)
    setattr(layer.get_submodule(parent), attribute, new.to(old.weight.device, old.weight.dtype))

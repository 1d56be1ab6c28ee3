"""One file per model family: a map from a transformers model to its embeddings, layers and head.

A family names the block that computes its layers. A file exports `FAMILY`, and imports no torch. A model whose family has no
file is searched by bits alone, on transformers' own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from autocompress.core.errors import UsageError
from autocompress.core.registry import Registry
from autocompress.core.sentence_embedding import POOLING_KEY
from autocompress.models.heads import POOLING, Head
from autocompress.models.layer_parts import LayerParts
from autocompress.models.model_types import Config, Model

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import nn

Items = TypeVar("Items", "ndarray", list[LayerParts])
BASE_SUFFIX = "Model"


@dataclass(frozen=True)
class EmbeddingParts:
    """The modules that turn token ids into the first hidden states: word (+ position) (+ type), norm (, projection)."""

    word: nn.Embedding  # (vocabulary, embedding size)
    position: nn.Embedding | None  # (positions, embedding size)
    first_position: int  # row of the first token's position
    token_type: nn.Embedding | None
    norm: nn.Module
    projection: nn.Linear | None  # to the hidden size, where the tables are narrower


@dataclass(frozen=True)
class Adapter:
    """What a transformers class lacks for sliced layers, beyond the shapes that `compressed.py` sets.

    Both functions stand in one file, which imports only torch and transformers: an exported folder holds a copy of it.
    """

    describe: Callable[[Model], dict[str, object]]  # the facts that `adapt` needs, for config.json
    adapt: Callable[[Model, Mapping[str, object]], None]  # changes a model in place, by those facts


@dataclass(frozen=True)
class Family:
    """A map from a transformers model to its parts."""

    model_types: tuple[str, ...]  # transformers' `model_type` values
    block: str  # the form of its layers, a file in autocompress/models/blocks
    layers: Callable[[Model], nn.ModuleList]  # the modules of its layers, first to last
    read_layer: Callable[[Model, Model], LayerParts]  # of a model and one of its layers
    embeddings: Callable[[Model], EmbeddingParts]
    heads: Mapping[str, Head | Callable[[Config], Head]]  # suffix of a transformers class -> its head
    positions_follow_padding: bool = False  # whether the first token's position is `pad_token_id + 1`
    shares_layers: bool = False  # one module runs `num_hidden_layers` times
    final_norm: Callable[[Model], nn.Module] | None = None  # after the last layer
    settings_per_layer: tuple[str, ...] = ()  # keys of the config that list one value per layer
    features: tuple[str, ...] = ()  # in words, as `Attention.excludes` names what it cannot be combined with
    adapter: Adapter | None = None
    check: Callable[[Mapping[str, object], str], None] = lambda values, place: (
        None
    )  # refuses an unsupported config.json

    @property
    def is_known(self) -> bool:
        """Return whether the family has a file; the layers of others cannot be taken apart."""
        return bool(self.block)

    def depth(self, model: Model) -> int:
        """Return the number of layers that run."""
        if self.is_known and not self.shares_layers:
            return len(self.layers(model))
        return count_layers(model.config.to_dict())

    def parts(self, model: Model) -> list[LayerParts]:
        """Return the parts of each layer in the order in which they run; shared layers repeat."""
        if not self.is_known:
            return []
        parts = [self.read_layer(model, layer) for layer in self.layers(model)]
        return parts * self.depth(model) if self.shares_layers else parts

    def distinct(self, items: Items) -> Items:
        """Return the items of those layers, of all that run, that have weights of their own."""
        return items[:1] if self.shares_layers else items

    def keep_layers(self, model: Model, kept: Sequence[int]) -> None:
        """Keep only these layers of a model, in place, in this order; of shared layers only the number counts."""
        config = model.config
        if not self.shares_layers:
            layers = self.layers(model)
            modules = [layers[index] for index in kept]
            del layers[:]
            layers.extend(modules)
            for index, layer in enumerate(layers):
                _set_layer_index(layer, index)
        for name in self.settings_per_layer:
            values = getattr(config, name)
            setattr(config, name, [values[index] for index in kept])
        setattr(config, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"), len(kept))

    def adapt(self, model: Model) -> None:
        """Make transformers' own forward pass serve sliced layers and other attentions, in place."""
        if self.adapter is not None:
            self.adapter.adapt(model, self.adapter.describe(model))

    def head(self, model: Model) -> Head:
        """Return the head of a model; a base model's pooling stands in its config. UsageError where there is none."""
        name = type(model).__name__
        if (settings := getattr(model.config, POOLING_KEY, None)) and name.endswith(BASE_SUFFIX):
            return POOLING[settings["pooling"]]
        head = next((head for suffix, head in self.heads.items() if name.endswith(suffix)), None)
        if head is None:
            raise UsageError(
                f"teacher.model: {name} has no head that this family supports; available: {', '.join(self.heads)}"
            )
        return head if isinstance(head, Head) else head(model.config)


def count_layers(values: Mapping[str, Any]) -> int:
    """Return the number of layers that a config.json names; 1 where it names none."""
    return int(values.get("num_hidden_layers", values.get("n_layers")) or 1)


FAMILIES = Registry("families", "FAMILY", Family)


def find_family_name(model_type: str) -> str | None:
    """Return the name of the family file that lists a `model_type`; None where none does."""
    families = {supported: name for name, family in FAMILIES.entries().items() for supported in family.model_types}
    return families.get(model_type)


def load_family(model_type: str) -> Family:
    """Load the family of a `model_type`; without a file it is one whose layers cannot be taken apart."""
    name = find_family_name(model_type)
    return _unknown_family(model_type) if name is None else FAMILIES.load(name)


def _unknown_family(model_type: str) -> Family:
    def refuse(*_: Model) -> NoReturn:
        raise UsageError(
            f"teacher.model: the family {model_type!r} has no file, so its layers cannot be taken apart; use `space: bits`"
        )

    return Family(
        model_types=(model_type,),
        block="",
        layers=refuse,
        read_layer=refuse,
        embeddings=refuse,
        heads=MappingProxyType({}),
    )


def _set_layer_index(layer: nn.Module, index: int) -> None:
    for module in layer.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, "layer_idx", index)  # noqa: B010  # nn.Module declares only tensors and modules as attributes

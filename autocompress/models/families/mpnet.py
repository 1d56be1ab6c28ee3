"""MPNet (Song et al. 2020): a bias of relative positions, which all layers share, is added to the attention scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models import mpnet_adapter
from autocompress.models.families import Adapter, EmbeddingParts, Family
from autocompress.models.heads import TOKENS, Head
from autocompress.models.layer_parts import LayerParts, RelativeBias
from autocompress.models.model_types import Model

if TYPE_CHECKING:
    from torch import Tensor, nn


def _layers(model: Model) -> nn.ModuleList:
    modules: nn.ModuleList = model.base_model.encoder.layer
    return modules


def _read_layer(model: Model, layer: Model) -> LayerParts:
    encoder, attention = model.base_model.encoder, layer.attention.attn
    return LayerParts(
        query=attention.q,
        key=attention.k,
        value=attention.v,
        output=attention.o,
        attention_norm=layer.attention.LayerNorm,
        ffn_in=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        ffn_out=layer.output.dense,
        ffn_norm=layer.output.LayerNorm,
        head_size=attention.attention_head_size,
        bias=RelativeBias(
            table=encoder.relative_attention_bias,
            bucket=encoder.relative_position_bucket,  # transformers always uses its default of 32 buckets
            columns=tuple(getattr(attention, "bias_heads", range(attention.num_attention_heads))),
            module=attention,
        ),
    )


def _embeddings(model: Model) -> EmbeddingParts:
    tables = model.base_model.embeddings
    return EmbeddingParts(
        word=tables.word_embeddings,
        position=tables.position_embeddings,
        first_position=tables.padding_idx + 1,
        token_type=None,
        norm=tables.LayerNorm,
        projection=None,
    )


def _classify(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) by a classifier that reads position 0 itself."""
    logits: Tensor = model.classifier(hidden)
    return logits


FAMILY = Family(
    model_types=("mpnet",),
    block="post_norm",
    layers=_layers,
    read_layer=_read_layer,
    embeddings=_embeddings,
    heads={"ForSequenceClassification": Head(_classify, first_only=True), "ForTokenClassification": TOKENS},
    positions_follow_padding=True,
    features=("relative position bias",),
    adapter=Adapter(mpnet_adapter.describe, mpnet_adapter.adapt),
)

"""BERT (Devlin et al. 2019) and models of the same architecture: MiniLM, TinyBERT, BGE and E5 encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.models.families import Family, _bert_like
from autocompress.models.heads import TOKENS, Head
from autocompress.models.model_types import Model

if TYPE_CHECKING:
    from torch import Tensor


def _classify(model: Model, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return logits (batch, labels) of the pooled position 0."""
    logits: Tensor = model.classifier(model.dropout(model.bert.pooler(hidden)))
    return logits


FAMILY = Family(
    model_types=("bert",),
    block="post_norm",
    layers=_bert_like.layers,
    read_layer=_bert_like.read_layer,
    embeddings=_bert_like.embeddings,
    heads={"ForSequenceClassification": Head(_classify, first_only=True), "ForTokenClassification": TOKENS},
)

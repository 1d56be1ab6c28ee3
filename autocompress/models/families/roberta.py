"""RoBERTa (Liu et al. 2019) and XLM-RoBERTa: positions start after the padding index."""

from __future__ import annotations

from autocompress.models.families import EmbeddingParts, Family, _bert_like
from autocompress.models.heads import TOKENS, Head
from autocompress.models.model_types import Model


def _embeddings(model: Model) -> EmbeddingParts:
    """Return the embedding modules; with padding on the right, token i has position `pad_token_id + 1 + i`."""
    return _bert_like.embeddings(model, first_position=model.config.pad_token_id + 1)


FAMILY = Family(
    model_types=("roberta", "xlm-roberta"),
    block="post_norm",
    layers=_bert_like.layers,
    read_layer=_bert_like.read_layer,
    embeddings=_embeddings,
    heads={"ForSequenceClassification": Head(_bert_like.classify, first_only=True), "ForTokenClassification": TOKENS},
    positions_follow_padding=True,
)

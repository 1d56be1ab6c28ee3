"""ELECTRA (Clark et al. 2020): a projection widens its narrower embeddings to the hidden size."""

from __future__ import annotations

from autocompress.models.families import Family, _bert_like
from autocompress.models.heads import TOKENS, Head

FAMILY = Family(
    model_types=("electra",),
    block="post_norm",
    layers=_bert_like.layers,
    read_layer=_bert_like.read_layer,
    embeddings=_bert_like.embeddings,
    heads={"ForSequenceClassification": Head(_bert_like.classify, first_only=True), "ForTokenClassification": TOKENS},
)

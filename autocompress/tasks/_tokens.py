"""Token ids of texts and pairs of texts, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autocompress.tasks import Rows, Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tokenize(rows: Rows, tokenizer: PreTrainedTokenizerFast, max_tokens: int, batch: int) -> Tokens:
    """Return the token ids of every row, truncated to `max_tokens` (with special tokens), by a fast transformers tokenizer."""
    with_types = rows.pairs is not None and "token_type_ids" in tokenizer.model_input_names
    input_ids: list[np.ndarray] = []
    type_ids: list[np.ndarray] = []
    for start in range(0, len(rows), batch):
        encoded = tokenizer(
            list(rows.texts[start : start + batch]),
            None if rows.pairs is None else list(rows.pairs[start : start + batch]),
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=False,
            return_token_type_ids=with_types,
        )
        input_ids += [np.asarray(ids, np.int64) for ids in encoded["input_ids"]]
        type_ids += [np.asarray(ids, np.int64) for ids in encoded["token_type_ids"]] if with_types else []
    return Tokens(tuple(input_ids), tuple(type_ids) if with_types else None, rows.labels)


def pad(
    tokens: Tokens, indices: Sequence[int] | np.ndarray, pad_id: int, multiple: int = 1, length: int | None = None
) -> dict[str, np.ndarray]:
    """Return the model inputs of some rows: `input_ids`, `attention_mask` (, `token_type_ids`), each (batch, length) int64.

    They are padded on the right to the longest row, rounded up to a `multiple`, or to a fixed `length`; ValueError if a row
    is longer.
    """
    longest = max(len(tokens.input_ids[index]) for index in indices)
    width = length or -(-longest // multiple) * multiple
    if width < longest:
        raise ValueError(f"the longest row has {longest} tokens; `length >= {longest}` must hold, but got {length}")
    batch = {
        "input_ids": np.full((len(indices), width), pad_id, np.int64),
        "attention_mask": np.zeros((len(indices), width), np.int64),
    }
    if tokens.token_type_ids is not None:
        batch["token_type_ids"] = np.zeros((len(indices), width), np.int64)
    for row, index in enumerate(indices):
        ids = tokens.input_ids[index]
        batch["input_ids"][row, : len(ids)] = ids
        batch["attention_mask"][row, : len(ids)] = 1
        if tokens.token_type_ids is not None:
            batch["token_type_ids"][row, : len(ids)] = tokens.token_type_ids[index]
    return batch

"""Windowed softmax attention: a token attends to nearby tokens and to [CLS], [CLS] to all; cost linear in length.

The pattern of Longformer (Beltagy et al. 2020) and BigBird (Zaheer et al. 2020): a band of `config.attention_window`.
Position 0 attends to every position and every position attends to it, so that a classifier still reads the whole text.

The sequence is split into chunks of queries. A chunk attends to its own keys, half a window on either side, and position 0.
With window 4 and chunks of 4, tokens 4-7 attend to the keys [0 | 2 3 4 5 6 7 8 9] that lie within the band. Values that
depend only on length and padding are computed from the mask, in the same way in every layer, so that a graph keeps one copy.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._attention import Attention
from ._masking import MASKED, look_up_bias
from ._scaling import scale_query
from .full import attend as attend_to_all
from .full import mask

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# With fewer queries per chunk, the many small products cost more than the scores they save (onnxruntime, 1 thread).
SMALLEST_CHUNK = 16


@dataclass(frozen=True)
class Chunks:
    """Positions of the queries and keys of each chunk: row i is chunk i, column 0 of the keys is position 0."""

    queries: Tensor  # (chunks, chunk) positions; 0 beyond the end of the sequence
    keys: Tensor  # (chunks, 1 + chunk + 2 * half) positions; 0 where no such token exists
    masked: Tensor  # (chunks, chunk, 1 + chunk + 2 * half) whether the key is outside the band of the query


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Compute softmax attention over |i - j| <= attention_window // 2, over j = 0, and over every j for i = 0.

    `attention_mask` is additive, `(batch, 1, 1, keys)`, as in `full`. A single query is position 0; a traced graph
    keeps that choice, so trace with more than one token. Raises ValueError if the config has no window of at least 2.
    """
    import torch

    if sliding_window is not None:
        return attend_to_all(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, sliding_window=sliding_window
        )
    query = scale_query(query, scaling)
    first, _ = attend_to_all(
        module, query[:, :, :1], key, value, attention_mask, scaling=1.0, dropout=dropout, position_bias=position_bias
    )
    half = _half_window(module)
    if _is_single(query):
        return first, None
    length = key.shape[2] if attention_mask is None else attention_mask.shape[3]
    chunks = _split_into_chunks(length, half, max(2 * half, SMALLEST_CHUNK), key.device)
    chunk_mask = _mask_chunks(attention_mask, chunks)
    if position_bias is not None:
        chunk_mask = chunk_mask + look_up_bias(position_bias, chunks.keys.unsqueeze(1) - chunks.queries.unsqueeze(2))
    rest = _attend_in_chunks(query, key, value, chunks, chunk_mask, dropout=dropout)
    rest = rest.flatten(2, 3)[:, :, 1:length].transpose(1, 2)  # (batch, queries - 1, heads, head_dim)
    return torch.cat([first, rest], dim=1), None


def _half_window(module: nn.Module) -> int:
    window = getattr(module.config, "attention_window", None)
    if not isinstance(window, int) or window < 2:
        raise ValueError(
            f"config.attention_window: {window!r} is not an integer >= 2, which local attention needs; set it in the config"
        )
    return window // 2


def _is_single(query: Tensor) -> bool:
    """Return whether there is one query. A tracer warns that this becomes a constant, which is intended here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(query.shape[2] == 1)


def _split_into_chunks(length: int, half: int, chunk: int, device: torch.device) -> Chunks:
    """Compute all positions from one range: onnxruntime merges equal scalars of two layers, but not equal vectors."""
    import torch
    from torch.nn import functional as F

    queries = torch.arange((length + chunk - 1) // chunk * chunk, device=device).reshape(-1, chunk)
    keys = torch.cat([queries - half, queries[:, chunk - 2 * half :] + half], dim=1)  # (chunks, chunk + 2 * half)
    missing = (keys <= 0) | (keys >= length)  # position 0 has a column of its own and must not be counted twice
    outside = (queries.unsqueeze(2) - keys.unsqueeze(1)).abs() > half
    return Chunks(
        queries=torch.where(queries < length, queries, 0),
        keys=F.pad(torch.where(missing, 0, keys), (1, 0)),
        masked=F.pad(outside | missing.unsqueeze(1), (1, 0)),
    )


def _mask_chunks(attention_mask: Tensor | None, chunks: Chunks) -> Tensor:
    """Return the additive mask of band and padding, `(batch or 1, 1, chunks, chunk, keys of a chunk)`."""
    import torch

    if attention_mask is None:
        return torch.where(chunks.masked, MASKED, 0.0).unsqueeze(0).unsqueeze(0)
    padding = attention_mask.squeeze(2)[:, :, chunks.keys].unsqueeze(3)  # (batch, 1, chunks, 1, keys of a chunk)
    return torch.where(chunks.masked, MASKED, padding)


def _attend_in_chunks(
    query: Tensor, key: Tensor, value: Tensor, chunks: Chunks, chunk_mask: Tensor, *, dropout: float
) -> Tensor:
    """Compute attention within the keys of each chunk: `(batch, heads, chunks, chunk, head_dim)`."""
    from torch.nn import functional as F

    scores = query[:, :, chunks.queries] @ key[:, :, chunks.keys].transpose(3, 4)
    weights = (scores + chunk_mask.to(scores.dtype)).softmax(dim=-1)
    weights = F.dropout(weights, dropout) if dropout else weights
    return weights @ value[:, :, chunks.keys]


ATTENTION = Attention(
    attend, mask, needs_window=True, dynamic_length=False
)  # a program would serve one chunk, or several

"""The scale of the attention scores, which every variant applies to the query."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def scale_query(query: Tensor, scaling: float | None) -> Tensor:
    """Multiply the query by the scale of its scores (None: head_dim ** -0.5); at 1.0 the graph gets no operator.

    Scaling the query is cheaper than scaling the scores: `(queries, head_dim)` against `(queries, keys)` numbers per head.
    """
    scaling = int(query.shape[-1]) ** -0.5 if scaling is None else scaling
    return query if scaling == 1.0 else query * scaling

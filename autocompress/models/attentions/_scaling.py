"""The scale of attention's scores, which every variant applies to the query."""

from __future__ import annotations

from torch import Tensor


def scaled(query: Tensor, scaling: float | None) -> Tensor:
    """The query times the scale of its scores (None: head_dim ** -0.5); at 1.0 the query itself, so no operator.

    The query is the cheap place for it: `(queries, head_dim)` numbers per head, where scores have `(queries, keys)`.
    """
    scaling = int(query.shape[-1]) ** -0.5 if scaling is None else scaling
    return query if scaling == 1.0 else query * scaling

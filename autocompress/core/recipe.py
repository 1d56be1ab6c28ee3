"""The compression decisions of one candidate: flat scalars, hashable; the order of the fields is the order of application."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

Scalar = int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to the teacher. Every default is neutral; `depth` is null only where the teacher's depth is not known.

    Sparsity is the fraction *removed* of the kept layers' heads or neurons, `0 <= s < 1`.
    A decision that does not apply is null (`attention_window` without local attention), so that equal candidates are
    equal recipes.
    """

    depth: int | None = None  # layers kept
    attention: str = "full"
    attention_window: int | None = None  # tokens, in all
    head_sparsity: float = 0.0
    ffn_sparsity: float = 0.0
    weight_bits: int = 32
    embedding_bits: int = 32

    def as_dict(self) -> dict[str, Scalar]:
        """`{decision: value}` in the order of application."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Scalar]) -> Recipe:
        """The recipe of a mapping; absent decisions are neutral, unknown ones raise TypeError."""
        return cls(**values)  # type: ignore[arg-type]  # values come from JSON written by as_dict

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON of the decisions that are not neutral: a new decision changes no key of before."""
        taken = {name: value for name, value in self.as_dict().items() if value != NEUTRAL[name]}
        return hashlib.sha256(json.dumps(taken, sort_keys=True).encode()).hexdigest()

    def structure(self) -> Recipe:
        """The part that recovery trains: one recovery serves every bit-width."""
        return replace(self, **{name: NEUTRAL[name] for name in AFTER_RECOVERY})  # type: ignore[arg-type]  # as in from_dict

    def is_whole(self, layers: int) -> bool:
        """Whether the structure is that of a teacher of `layers` layers: nothing is removed, and nothing is trained."""
        return self.structure() == Recipe(depth=layers)

    def describe(self) -> str:
        """One short line a person can read, e.g. `3 layers · 67 % fewer heads · int8`."""
        parts = [f"{self.depth} layer{'' if self.depth == 1 else 's'}" if self.depth else "all layers"]
        if self.attention != "full":
            window = f" {self.attention_window}" if self.attention_window else ""
            parts.append(f"{self.attention} attention{window}")
        if self.head_sparsity:
            parts.append(f"−{self.head_sparsity:.0%} heads")
        if self.ffn_sparsity:
            parts.append(f"−{self.ffn_sparsity:.0%} neurons")
        parts.append("fp32" if self.weight_bits == 32 else f"{self.weight_bits}-bit")
        if self.embedding_bits != 32:
            parts.append(f"{self.embedding_bits}-bit embeddings")
        return " · ".join(parts)


DECISIONS: tuple[str, ...] = tuple(field.name for field in fields(Recipe))
NEUTRAL: dict[str, Scalar] = Recipe().as_dict()
AFTER_RECOVERY: tuple[str, ...] = ("weight_bits", "embedding_bits")  # applied to the trained weights, when deploying

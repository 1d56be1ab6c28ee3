"""A recipe: the compression decisions of one candidate, in the order in which they are applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

Scalar = int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The compression decisions of one candidate: hashable scalars. Every default is neutral.

    Sparsity is the fraction *removed* of the kept layers' heads or neurons, `0 <= s < 1`.
    A decision that does not apply is null (`attention_window` without local attention), so that equal candidates are
    equal recipes. `depth` is null only where the teacher's depth is not known.
    """

    depth: int | None = None  # layers kept
    attention: str = "full"
    attention_window: int | None = None  # tokens, both sides together
    head_sparsity: float = 0.0
    ffn_sparsity: float = 0.0
    weight_bits: int = 32
    embedding_bits: int = 32

    def as_dict(self) -> dict[str, Scalar]:
        """Return `{decision: value}` in the order of application."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Scalar]) -> Recipe:
        """Return the recipe of a mapping; absent decisions are neutral, unknown ones raise TypeError."""
        return cls(**values)  # type: ignore[arg-type]  # values come from JSON written by as_dict

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical JSON of the decisions that are not neutral, so that a new decision changes no old key."""
        active = {name: value for name, value in self.as_dict().items() if value != NEUTRAL[name]}
        return hashlib.sha256(json.dumps(active, sort_keys=True).encode()).hexdigest()

    def structure(self) -> Recipe:
        """Return the recipe with neutral bit-widths: one training serves all of them."""
        return replace(self, **{name: NEUTRAL[name] for name in AFTER_RECOVERY})  # type: ignore[arg-type]  # as in from_dict

    def is_whole(self, layers: int) -> bool:
        """Whether the structure is that of a teacher of `layers` layers: nothing is removed, and nothing is trained."""
        return self.structure() == Recipe(depth=layers)

    def describe(self) -> str:
        """Return one short line, e.g. `3 layers · −67% heads · 8-bit`."""
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
AFTER_RECOVERY: tuple[str, ...] = ("weight_bits", "embedding_bits")  # applied to the trained weights at export

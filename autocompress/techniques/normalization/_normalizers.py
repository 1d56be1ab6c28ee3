"""What decisions about the writing of texts share: they put steps before the tokenizer's own normalizer."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy
from autocompress.core.scalar import Scalar
from autocompress.techniques.stages import DataTechnique

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer


class Normalization(DataTechnique):
    """A decision of two values: `keep`, and one that changes how texts are written. The highest `order` is applied first."""

    description: str  # of the value that changes texts

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return "keep"

    def describe(self, value: Scalar) -> str:
        return self.description if self.is_active(value) else ""

    def edit_tokenizer(self, tokenizer: Tokenizer, value: Scalar) -> None:
        """Apply the steps to a text before all that the tokenizer does so far. Special tokens stay."""
        from tokenizers import normalizers

        before = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([*self.steps(), *before])

    @abstractmethod
    def steps(self) -> tuple[Normalizer, ...]:
        """Return what is done to a text, in this order."""


def replace_pattern(pattern: str, replacement: str) -> Normalizer:
    """Return the step that replaces each match of a regular expression."""
    from tokenizers import Regex, normalizers

    return normalizers.Replace(Regex(pattern), replacement)


def join_spaces() -> tuple[Normalizer, Normalizer]:
    """Return the steps that leave one space where something was removed, and none at the ends."""
    from tokenizers import normalizers

    return replace_pattern(r"\s+", " "), normalizers.Strip()

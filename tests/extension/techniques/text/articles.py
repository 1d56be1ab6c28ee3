"""Drop articles and conjunctions before a text is cut into tokens (Silva and Ribeiro 2003)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, Names
from autocompress.core.scalar import Scalar
from autocompress.techniques.stages import DataTechnique

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Articles(DataTechnique):
    """Whether articles and conjunctions stay in a text."""

    name = "articles"
    domain = Names(("keep", "drop"))

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return "keep"

    def describe(self, value: Scalar) -> str:
        return "no articles" if value == "drop" else ""

    def edit_tokenizer(self, tokenizer: Tokenizer, value: Scalar) -> None:
        from tokenizers import Regex, normalizers

        dropped = normalizers.Replace(Regex(r"\b(the|a|and|but)\b"), "")
        before = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([dropped, *before])


TECHNIQUE = Articles()

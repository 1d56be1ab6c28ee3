"""Write all letters small, so that a word that begins a sentence has its usual tokens (Uysal and Gunal 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Names
from autocompress.techniques.normalization._normalizers import Normalization

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer


class LetterCase(Normalization):
    """Whether capital letters stay."""

    name, order = "letter_case", 4
    domain = Names(("keep", "lower"))
    sample, description = "Then THE", "lower case"

    def steps(self) -> tuple[Normalizer, ...]:
        from tokenizers import normalizers

        return (normalizers.Lowercase(),)


TECHNIQUE = LetterCase()

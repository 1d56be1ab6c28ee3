"""Remove punctuation, so that texts are shorter and take less time (HaCohen-Kerner et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Names
from autocompress.techniques.normalization._normalizers import Normalization, join_spaces, replace_pattern

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer


class Punctuation(Normalization):
    """Whether punctuation stays. An apostrophe within a word vanishes, other marks become a space; symbols such as $ stay."""

    name, order = "punctuation", 2
    domain = Names(("keep", "remove"))
    sample, description = "Well, (yes)!", "no punctuation"

    def steps(self) -> tuple[Normalizer, ...]:
        apostrophes, marks = replace_pattern(r"(?<=\p{L})['’](?=\p{L})", ""), replace_pattern(r"\p{P}+", " ")
        return apostrophes, marks, *join_spaces()


TECHNIQUE = Punctuation()

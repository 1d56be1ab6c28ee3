"""Write every digit as 0, so that numbers of one form share their tokens (as Lample et al. 2016 did for tagging)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Names
from autocompress.techniques.normalization._normalizers import Normalization, replace_pattern

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer


class Digits(Normalization):
    """Whether digits keep their value."""

    name, order = "digits", 3
    domain = Names(("keep", "zero"))
    sample, description = "1987", "digits as 0"

    def steps(self) -> tuple[Normalizer, ...]:
        return (replace_pattern(r"\p{Nd}", "0"),)


TECHNIQUE = Digits()

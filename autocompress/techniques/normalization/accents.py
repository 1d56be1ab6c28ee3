"""Strip accents from letters, so that rare spellings have the tokens of frequent ones (uncased BERT: Devlin et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Names
from autocompress.techniques.normalization._normalizers import Normalization

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer


class Accents(Normalization):
    """Whether accents stay."""

    name, order = "accents", 5
    domain = Names(("keep", "strip"))
    sample, description = "Café", "no accents"

    def steps(self) -> tuple[Normalizer, ...]:
        from tokenizers import normalizers

        return normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()


TECHNIQUE = Accents()

"""Drop frequent words that carry little meaning before a text is cut into tokens (Luhn 1958; Silva and Ribeiro 2003).

The list holds English articles, auxiliaries, pronouns, prepositions and conjunctions. It holds no negations and no words of
degree such as `too`, which decide on sentiment; and no `what`, `who` or `where`, which tell what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Names
from autocompress.techniques.normalization._normalizers import Normalization, join_spaces, replace_pattern

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer

_ENGLISH = (
    "a an the and or but if as of at by for with about into to from in on this that these those it its he him his she her hers"
    " they them their theirs we us our ours you your yours i me my mine is are was were be been being am do does did doing has"
    " have had having will would shall should can could may might must there here"
    " while than then also because until during between through upon"
)
ENGLISH = tuple(_ENGLISH.split())


class StopWords(Normalization):
    """Whether words that carry little meaning stay, or which language's are dropped."""

    name, order = "stop_words", 1
    domain = Names(("keep", "english"))
    sample, description = "the end of it", "no stop words"

    def steps(self) -> tuple[Normalizer, ...]:
        words = "|".join(sorted(ENGLISH, key=len, reverse=True))
        inside = r"[\p{L}\p{N}_'’]"  # of a word: `it's` is one of its own
        return replace_pattern(f"(?i)(?<!{inside})(?:{words})(?!{inside})", " "), *join_spaces()


TECHNIQUE = StopWords()

"""Learn from copies in which words are replaced by words with near embeddings (Wang and Yang 2015; Jiao et al. 2020).

A fifth of the words of a copy are replaced, each by one of the ten tokens whose rows of the teacher's word table are nearest by
the cosine. A token that begins a word is replaced by one that begins a word, and a part by a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.techniques.stages import AugmentationTechnique, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator

RATE = 0.2


class ReplacedWords(AugmentationTechnique):
    """Copies of each row in which words are replaced."""

    name, order = "replaced_words", 10

    def change(self, row: np.ndarray, vocabulary: Vocabulary, draws: Generator) -> np.ndarray:
        from autocompress.techniques.augmentation._words import draw_some, unchanged, word_places

        copy, nearest = unchanged(row), vocabulary.nearest()
        places = draw_some(word_places(row, vocabulary), RATE, draws)
        copy[places, 1] = nearest[row[places], draws.integers(nearest.shape[1], size=len(places))]
        return copy


TECHNIQUE = ReplacedWords()

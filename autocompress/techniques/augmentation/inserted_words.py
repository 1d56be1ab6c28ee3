"""Learn from copies in which words are inserted (EDA: Wei and Zou 2019).

A word is drawn from the text, and one of the ten nearest to it in the teacher's word table is inserted at another place: once
for every ten words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.techniques.stages import AugmentationTechnique, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator

RATE = 0.1


class InsertedWords(AugmentationTechnique):
    """Copies of each row in which words are inserted."""

    name, order = "inserted_words", 13

    def change(self, row: np.ndarray, vocabulary: Vocabulary, draws: Generator) -> np.ndarray:
        import numpy as np

        from autocompress.techniques.augmentation._words import draw_some, unchanged, word_places

        words, nearest = word_places(row, vocabulary), vocabulary.nearest()
        copied = draw_some(words, RATE, draws)
        near = nearest[row[copied], draws.integers(nearest.shape[1], size=len(copied))]
        places = draws.choice(words, len(copied)) if len(words) else copied
        return np.insert(unchanged(row), places, np.stack((places, near), axis=1), axis=0)


TECHNIQUE = InsertedWords()

"""Learn from copies in which neighbouring words are swapped (EDA: Wei and Zou 2019). A tenth of the words change places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.techniques.stages import AugmentationTechnique, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator

RATE = 0.1


class SwappedWords(AugmentationTechnique):
    """Copies of each row in which words are swapped."""

    name, order = "swapped_words", 11

    def change(self, row: np.ndarray, vocabulary: Vocabulary, draws: Generator) -> np.ndarray:
        import numpy as np

        from autocompress.techniques.augmentation._words import draw_some, unchanged, word_places

        copy, words = unchanged(row), word_places(row, vocabulary)
        for place in draw_some(np.intersect1d(words, words - 1), RATE, draws):  # words that a word follows
            copy[[place, place + 1], 1] = copy[[place + 1, place], 1]
        return copy


TECHNIQUE = SwappedWords()

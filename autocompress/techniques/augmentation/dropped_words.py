"""Learn from copies in which words are missing (EDA: Wei and Zou 2019). A tenth of the words are left out, but never all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.techniques.stages import AugmentationTechnique, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator

RATE = 0.1


class DroppedWords(AugmentationTechnique):
    """Copies of each row in which words are missing."""

    name, order = "dropped_words", 12

    def change(self, row: np.ndarray, vocabulary: Vocabulary, draws: Generator) -> np.ndarray:
        import numpy as np

        from autocompress.techniques.augmentation._words import draw_some, unchanged, word_places

        words = word_places(row, vocabulary)
        dropped = draw_some(words, RATE, draws)
        return np.delete(unchanged(row), dropped if len(dropped) < len(words) else dropped[1:], axis=0)


TECHNIQUE = DroppedWords()

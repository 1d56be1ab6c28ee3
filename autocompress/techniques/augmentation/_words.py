"""What copies of texts with changed words share: some places of a text are drawn, and each is changed on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from autocompress.techniques.stages import Vocabulary


def unchanged(row: np.ndarray) -> np.ndarray:
    """Return a text as places and token ids (tokens, 2)."""
    return np.stack((np.arange(len(row)), row), axis=1)


def word_places(row: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Return the places (words,) of the words of a text."""
    return np.flatnonzero(vocabulary.is_word[row])


def draw_some(places: np.ndarray, rate: float, draws: Generator) -> np.ndarray:
    """Return a share `rate` of the places on average, and at least one if there is one."""
    chosen = places[draws.random(len(places)) < rate]
    return chosen if len(chosen) or not len(places) else draws.choice(places, 1)

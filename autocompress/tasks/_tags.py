"""The tags of words: predicted from the outputs of tokens, and counted by their type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autocompress.data.entities import OUTSIDE, Entity, find_entities, has_scheme
from autocompress.data.ragged import Ragged
from autocompress.tasks import Tokens
from autocompress.tasks._words import NO_TOKEN, WordTokens

NO_TAG = -1  # the label id of a word without a token


@dataclass(frozen=True)
class TypeCounts:
    """How often one type of entity, or one tag, occurs."""

    right: int  # predicted at the right words
    predicted: int
    actual: int

    @property
    def precision(self) -> float:
        """The fraction of the predicted ones that are right; 0 where none is predicted."""
        return self.right / max(1, self.predicted)

    @property
    def recall(self) -> float:
        """The fraction of the actual ones that are predicted."""
        return self.right / max(1, self.actual)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.right / max(1, self.predicted + self.actual)

    @property
    def scores(self) -> tuple[float, float, float]:
        """Precision, recall and F1."""
        return self.precision, self.recall, self.f1


def predict_tags(outputs: Ragged, tokens: Tokens) -> np.ndarray:
    """Return the tags of every word, an array (rows,) of tuples, from logits (tokens, labels)."""
    assert isinstance(tokens, WordTokens), "tokens of `tokenize`"
    words = tokens.word_labels.counts
    units = np.repeat(np.cumsum(outputs.counts) - outputs.counts, words) + tokens.first_tokens
    has_token = tokens.first_tokens != NO_TOKEN
    ids = np.full(len(units), NO_TAG)
    ids[has_token] = outputs.values[units[has_token]].argmax(-1)
    return _name_tags(ids, words, tokens.names)


def true_tags(tokens: Tokens) -> np.ndarray:
    """Return the labels of every word by name, an array (rows,) of tuples."""
    assert isinstance(tokens, WordTokens), "tokens of `tokenize`"
    return _name_tags(tokens.word_labels.values, tokens.word_labels.counts, tokens.names)


def _name_tags(ids: np.ndarray, counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Name the label ids (words,) of rows; NO_TAG is O, or an empty tag where no label is O."""
    lookup = np.array([*names, OUTSIDE if OUTSIDE in names else ""], object)
    rows = np.empty(len(counts), object)
    rows[:] = [tuple(part) for part in np.split(lookup[ids], np.cumsum(counts)[:-1])]
    return rows


def count_types(predicted: np.ndarray, references: np.ndarray, names: Sequence[str]) -> dict[str, TypeCounts]:
    """Return the counts of each type of entity, sorted by name; of each tag where the names mark no entities."""
    find = find_marks(names)
    right, found, actual = Counter[str](), Counter[str](), Counter[str]()
    for row, truth in zip(predicted, references, strict=True):
        guesses, facts = find(row), find(truth)
        right.update(entity.type for entity in set(guesses) & set(facts))
        found.update(entity.type for entity in guesses)
        actual.update(entity.type for entity in facts)
    return {name: TypeCounts(right[name], found[name], actual[name]) for name in sorted(found | actual)}


def find_marks(names: Sequence[str]) -> Callable[[Sequence[str]], list[Entity]]:
    """Return the function that finds what the tags of a row mark: entities, or single tags where the names mark none."""
    return find_entities if has_scheme(names) else _single_tags


def _single_tags(tags: Sequence[str]) -> list[Entity]:
    """Return each tag as an entity of one word."""
    return [Entity(tag, word, word) for word, tag in enumerate(tags) if tag]

"""Classifiers that take seconds: what a teacher that is worth compressing must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autocompress.data import sample_rows
from autocompress.tasks import Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

INVERSE_REGULARIZATION = 10.0  # C of the logistic regression; 30 is no better on trec and banking77
MOST_FEATURES = 30_000
MOST_CELLS = 1_000_000  # rows × labels that are learned; more take minutes
PROBED_TOKENS = 100_000  # whose states a linear probe computes
LONG_WORD = 14  # characters of a mean word, from which on a script has no spaces between words
WORD = r"\w+|[^\w\s]"  # words, and single other characters: a question mark tells much


def learned_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers of the rows of train that a baseline learns: all, unless that takes minutes."""
    most = max(1, MOST_CELLS // (int(labels.max()) + 1))
    return sample_rows(labels, most, seed, "sample for a baseline")


def has_spaces(texts: Sequence[str]) -> bool:
    """Return whether spaces separate the words of most texts, unlike in Chinese, Japanese or Thai."""
    words = sum(len(text.split()) for text in texts)
    return sum(len("".join(text.split())) for text in texts) <= LONG_WORD * words


def predict_from_words(train: Rows, rows: Rows) -> tuple[np.ndarray, str]:
    """Return the labels (rows,) that TF-IDF and logistic regression predict, and what the features are, in words.

    Features are words and pairs of words, or up to three characters where a script has no spaces.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    known, asked = _joined(train), _joined(rows)
    if has_spaces(known):
        options, features = {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": WORD}, "words"
    else:
        options, features = {"analyzer": "char", "ngram_range": (1, 3)}, "characters"
    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=MOST_FEATURES, **options)
    return _predict(vectorizer.fit_transform(known), train.labels.values, vectorizer.transform(asked)), features


def predict_from_embeddings(train: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the labels (rows,) of logistic regression on embeddings (rows, width): a linear probe."""
    mean, spread = train.mean(0), train.std(0) + 1e-6
    return _predict((train - mean) / spread, labels, (rows - mean) / spread)


def probed_rows(lengths: Sequence[int], chosen: np.ndarray, seed: int) -> np.ndarray:
    """Return some of the chosen rows, as many as hold the tokens that a probe may read."""
    shuffled = np.random.default_rng(seed).permutation(chosen)
    within = int(np.searchsorted(np.cumsum(np.asarray(lengths)[shuffled]), PROBED_TOKENS, side="right"))
    return np.sort(shuffled[: max(1, within)])


def _predict(train: csr_matrix | np.ndarray, labels: np.ndarray, rows: csr_matrix | np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return np.full(rows.shape[0], labels[0])
    classifier = LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=200, tol=1e-3)
    predicted: np.ndarray = classifier.fit(train, labels).predict(rows)
    return predicted


def _joined(rows: Rows) -> list[str]:
    """Return the texts of rows; both texts of a pair."""
    return [f"{text} | {other}" for text, other in zip(rows.texts, rows.pairs or [""] * len(rows), strict=True)]

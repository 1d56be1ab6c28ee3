"""Pairs of a study's own texts that the model's own embeddings rate: more rows for a teacher that compares two texts.

A model of sentence embeddings knows how similar two texts are. With a new head that reads both texts at once it has lost that,
and a few thousand labels teach it worse than its own embeddings did. So it first learns pairs that its embeddings rate (Liu et
al. 2022, "Trans-Encoder"); labels from a model are called silver (Thakur et al. 2021, "Augmented SBERT").
"""

from __future__ import annotations

import numpy as np

from autocompress.config import StudyPlan
from autocompress.core.errors import UsageError
from autocompress.data import sample_rows
from autocompress.data.ragged import Ragged
from autocompress.search.study_data import StudyData
from autocompress.search.text_embeddings import embed_texts
from autocompress.tasks import Rows, Tokens

MOST_TEXTS = 20_000  # that pairs are drawn from
BLOCK = 256  # texts that are compared with all others at once
MEAN_RANK, RANDOM_SHARE = 30, 0.1  # most partners are among the nearest texts, some are any text


def draw_pairs(embeddings: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of different texts, given their embeddings (texts, hidden); return the numbers of both texts, each (count,).

    Unrelated pairs are all alike, so the partner of a text is the one at a drawn rank among its nearest. The rank is
    exponential with the mean 30; a tenth of the partners are any text.
    """
    texts = len(embeddings)
    left = np.sort(rng.integers(0, texts, count))
    ranks = np.minimum(rng.exponential(MEAN_RANK, count).astype(np.int64), texts - 2)
    ranks = np.where(rng.random(count) < RANDOM_SHARE, rng.integers(0, texts - 1, count), ranks)
    right = np.empty(count, np.int64)
    for start in range(0, count, BLOCK):
        block = slice(start, start + BLOCK)
        similarity = embeddings[left[block]] @ embeddings.T
        similarity[np.arange(len(similarity)), left[block]] = -np.inf  # no text is its own partner
        for row, rank in enumerate(ranks[block]):
            right[start + row] = np.argpartition(-similarity[row], rank)[rank]
    return left, right


def silver_rows(plan: StudyPlan, data: StudyData, count: int, offline: bool) -> Tokens:
    """Return `count` pairs of texts of train and of the unlabelled rows, with labels of the same mean and spread as train's."""
    texts = _distinct_texts(data, plan.seed)
    if len(texts) < 2:
        place = plan.place("teacher.fine_tune.silver_pairs")
        raise UsageError(
            f"{place}: train and the unlabelled rows hold one distinct text, which has no partner; leave it out"
        )
    embeddings = embed_texts(plan, data, texts, offline)
    left, right = draw_pairs(embeddings, count, np.random.default_rng(plan.seed))
    similarity = (embeddings[left] * embeddings[right]).sum(1)
    known = data.splits.train.labels.values
    labels = known.mean() + known.std() * (similarity - similarity.mean()) / max(similarity.std(), 1e-6)
    first, second = (tuple(texts[number] for number in side) for side in (left, right))
    return data.tokenize(Rows(first, second, Ragged.one_each(labels.astype(known.dtype))))


def _distinct_texts(data: StudyData, seed: int) -> list[str]:
    """Return texts of train and of the unlabelled rows, each once."""
    parts = (data.splits.train, data.splits.unlabelled)
    texts = sorted({text for rows in parts for side in (rows.texts, rows.pairs or ()) for text in side})
    return [texts[row] for row in sample_rows(np.zeros(len(texts), np.int64), MOST_TEXTS, seed, "sample silver texts")]

"""Results of embeddings: how near they are to the teacher's, and the pairs whose similarity changed most."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from autocompress.tasks import ResultTable, SplitOutputs
from autocompress.tasks._embedding_rows import flat_texts
from autocompress.tasks._similarity import cosines, has_labelled_pairs, list_pairs, pair_similarities

EDGES = (-1.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)  # of the classes of cosines


def cosine_table(outputs: SplitOutputs) -> ResultTable:
    """Return how many texts have embeddings at which cosine to the teacher's."""
    values = np.clip(cosines(outputs.teacher.values, outputs.model.values), -1, 1)
    counts = np.histogram(values, EDGES)[0]
    rows = tuple(
        (f"{low:g} to {high:g}", f"{count:,}", f"{100 * count / len(values):.1f} %")
        for (low, high), count in zip(pairwise(EDGES), counts, strict=True)
    )
    fifth, median = np.quantile(values, (0.05, 0.5))
    return ResultTable(
        title="Cosine to the teacher's embedding, on test",
        caption=f"Each text's embedding beside the teacher's. Median {median:.3f}; 5 % of the texts are below {fifth:.3f}.",
        head=("cosine", "texts", "share"),
        rows=rows,
    )


def worst_pairs_table(outputs: SplitOutputs, most: int) -> ResultTable:
    """Return the pairs whose similarity differs most from the teacher's."""
    labelled = has_labelled_pairs(outputs.tokens)
    texts, pairs = flat_texts(outputs.rows), list_pairs(len(outputs.model.values), labelled)
    teacher, model = (pair_similarities(x.values, outputs.tokens) for x in (outputs.teacher, outputs.model))
    worst = np.argsort(-abs(model - teacher), kind="stable")[:most]
    labels = outputs.rows.labels.values
    shown = tuple(
        (
            f"{texts[pairs[pair, 0]]} ¦ {texts[pairs[pair, 1]]}",
            *((f"{labels[pair]:.3g}",) if labelled else ()),
            *(f"{similarities[pair]:.3f}" for similarities in (teacher, model)),
        )
        for pair in worst
    )
    head = ("texts", *(("label",) if labelled else ()), "teacher's similarity", "model's similarity")
    return ResultTable(title=f"Pairs whose similarity changed most ({len(shown)})", head=head, rows=shown)

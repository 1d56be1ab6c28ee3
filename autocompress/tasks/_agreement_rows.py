"""Choose the agreement rows of a study: texts that no model learns from, on which candidates are compared with the teacher.

Rows that `max_train_rows` left over cost nothing, and their labels are known. Unlabelled texts come next. Else a tenth of train
is kept back, from the teacher too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autocompress.config import StudyPlan
from autocompress.core.formatting import counted
from autocompress.data import cut_rows, sample_rows
from autocompress.data.ragged import Ragged
from autocompress.tasks import Rows, TaskData

LEAST_ROWS = 200  # fewer tell too little
CUT_SHARE = 10  # one of so many training rows is kept back
UNLABELLED_SHARE = 2  # one of so many unlabelled texts
Strata = Callable[[Ragged], np.ndarray]


def keep_agreement_rows(plan: StudyPlan, data: TaskData, whole: Rows, strata: Strata) -> TaskData:
    """Return the rows of a study with agreement rows, where there are enough. `whole`: train before `max_train_rows`.

    A teacher that is not fine-tuned here may have learned from train: then only unlabelled texts will do. The fingerprint
    covers how many rows are kept, and which follows from the rows and the seed.
    """
    limit, train, unlabelled = plan.task.data.max_agreement_rows or 0, data.train, data.unlabelled
    if limit < LEAST_ROWS:
        return data
    is_tuned = plan.teacher.fine_tune is not None
    if is_tuned and len(whole) - len(train) >= LEAST_ROWS:
        left = _new_rows(whole, (train, data.validation, data.test))
        if len(left) >= LEAST_ROWS:
            return _with_agreement(data, left, limit, plan.seed, has_agreement_labels=True)
    size = min(limit, len(unlabelled) // UNLABELLED_SHARE)
    if size >= LEAST_ROWS:
        chosen = sample_rows(np.zeros(len(unlabelled), np.int64), size, plan.seed, "agreement")
        return _with_agreement(data, unlabelled.take(chosen), limit, plan.seed)
    size = min(limit, len(train) // CUT_SHARE)
    if size < LEAST_ROWS or not is_tuned:
        return data
    cut = cut_rows(train.text_keys(), strata(train.labels), size, plan.seed, "agreement")
    note = (
        f"{counted(int(cut.sum()), 'row')} of train are kept back from all training, the teacher's too, to compare candidates"
        " with the teacher; unlabelled texts (task.data.unlabelled) would spare them, and max_agreement_rows: 0 keeps none"
    )
    kept, agreement = train.take(np.flatnonzero(~cut)), train.take(np.flatnonzero(cut))
    return _with_agreement(
        data, agreement, limit, plan.seed, train=kept, has_agreement_labels=True, notes=(*data.notes, note)
    )


def _with_agreement(data: TaskData, rows: Rows, most: int, seed: int, **changes: Any) -> TaskData:
    """Return the data with at most `most` agreement rows, shuffled so that any first part is a random sample.

    They are no unlabelled texts any more.
    """
    rows = rows.take(np.random.default_rng([seed, len(rows)]).permutation(len(rows))[:most])
    fingerprint = hashlib.sha256(f"{data.fingerprint} {len(rows)} agreement rows".encode()).hexdigest()
    unlabelled = _new_rows(data.unlabelled, (rows,))
    return replace(data, agreement=rows, unlabelled=unlabelled, fingerprint=fingerprint, **changes)


def _new_rows(rows: Rows, known: Sequence[Rows]) -> Rows:
    """Return the rows whose texts are in none of `known`, each text once."""
    seen = {key for others in known for key in others.text_keys()}
    chosen = []
    for row, key in enumerate(rows.text_keys()):
        if key not in seen:
            seen.add(key)
            chosen.append(row)
    return rows.take(np.array(chosen, np.int64))

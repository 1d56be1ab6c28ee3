"""Recognize data for sentence embeddings: texts without a label, or two texts and their similarity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from autocompress.core.errors import UsageError
from autocompress.tasks import LabelSummary, Recognition
from autocompress.tasks._recognition import check_options, find_texts, guess_columns, guess_numbers, guess_texts

Values = Mapping[str, Sequence[object]]
PAIRS_CLAIM, TEXTS_CLAIM, LABELLED_CLAIM = 0.95, 0.6, 0.05  # the last one: data that have labels of another task


def recognize_embeddings(values: Values, named: Mapping[str, str | None]) -> Recognition:
    """Return the roles of the columns; UsageError where no column holds texts."""
    check_options(values, named)
    texts = find_texts(values)
    label = _try_guess(lambda: guess_numbers(values, named))
    if label is not None:
        columns = guess_texts(values, named, texts, label)
        if columns.pair is not None:
            reason = (
                f"the column {label} holds numbers with a fraction: similarities of {columns.text} and {columns.pair}"
            )
            roles = {"text": columns.text, "text_pair": columns.pair, "label": label}
            return Recognition(claim=PAIRS_CLAIM, columns=roles, texts=(columns.text,), reason=reason)
    text = guess_texts(values, named, texts, "").text
    is_labelled = _try_guess(lambda: guess_columns(values, named).label) is not None
    claim, reason = (LABELLED_CLAIM, "") if is_labelled else (TEXTS_CLAIM, "no column holds labels")
    return Recognition(claim=claim, columns={"text": text}, texts=(text,), reason=reason)


def describe_similarities(values: Values, recognized: Recognition) -> LabelSummary:
    """Describe the similarities, or that the teacher judges where there are none."""
    label = recognized.columns.get("label")
    reason = "without labels quality is how well a model orders pairs of texts as the teacher does: spearman"
    description = "no labels"
    if label is not None:
        numbers = [float(str(value)) for value in values[label]]
        description = f"label: {label}, similarities from {min(numbers):g} to {max(numbers):g}"
        reason = "labels are similarities, so the metric is spearman: how well the pairs are ordered"
    return LabelSummary(
        description=description, metric="spearman", reason=reason, other_metrics=("pearson", "spearman")
    )


def _try_guess(guess: Callable[[], str]) -> str | None:
    try:
        return guess()
    except UsageError:
        return None

"""Results of a regression by size of the label, and the rows that the model predicts worse than its teacher."""

from __future__ import annotations

import numpy as np

from autocompress.tasks import ResultTable, SplitOutputs
from autocompress.tasks._numbers import quantile_bins
from autocompress.tasks._text_rows import show_text

BINS = 5


def number_table(outputs: SplitOutputs) -> ResultTable:
    """Return the errors of the rows of each fifth of the labels."""
    labels = outputs.rows.labels.values
    bins = quantile_bins(labels, BINS)
    teacher, model = (numbers.values[:, 0] - labels for numbers in (outputs.teacher, outputs.model))
    rows = tuple(
        (
            f"{labels[bins == number].min():.4g} to {labels[bins == number].max():.4g}",
            f"{(bins == number).sum():,}",
            *(f"{abs(errors[bins == number]).mean():.3g}" for errors in (teacher, model)),
            *(f"{errors[bins == number].mean():+.3g}" for errors in (teacher, model)),
        )
        for number in np.unique(bins)
    )
    return ResultTable(
        title="Results by size of the label, on test",
        caption="Error: mean absolute difference from the label, in its units. Bias: mean of prediction − label.",
        head=("label", "rows", "teacher's error", "model's error", "teacher's bias", "model's bias"),
        rows=rows,
    )


def worse_rows_table(outputs: SplitOutputs, most: int) -> ResultTable:
    """Return the rows whose error grew most."""
    labels = outputs.rows.labels.values
    teacher, model = outputs.teacher.values[:, 0], outputs.model.values[:, 0]
    growth = abs(model - labels) - abs(teacher - labels)
    worst = [int(row) for row in np.argsort(-growth, kind="stable")[:most] if growth[row] > 0]
    shown = tuple(
        (show_text(outputs.rows, row), *(f"{numbers[row]:.3g}" for numbers in (labels, teacher, model)))
        for row in worst
    )
    title = f"Texts whose error grew most ({len(shown)})"
    return ResultTable(title=title, head=("text", "label", "teacher", "model"), rows=shown)

"""Results of a classifier by label, and the rows on which it disagrees with its teacher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autocompress.tasks import ResultTable, SplitOutputs
from autocompress.tasks._text_rows import show_text


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """The rows of one label."""

    label: str
    rows: int
    teacher_right: int
    right: int
    lost: int  # the teacher is right and the model is wrong
    won: int  # the model is right and the teacher is wrong


def results_by_label(outputs: SplitOutputs) -> list[LabelResult]:
    """Count right and wrong predictions of each label."""
    labels = outputs.rows.labels.values
    right, teacher_right = (logits.values.argmax(-1) == labels for logits in (outputs.model, outputs.teacher))
    return [
        LabelResult(
            label=name,
            rows=int((labels == number).sum()),
            teacher_right=int(teacher_right[labels == number].sum()),
            right=int(right[labels == number].sum()),
            lost=int((teacher_right & ~right)[labels == number].sum()),
            won=int((right & ~teacher_right)[labels == number].sum()),
        )
        for number, name in enumerate(outputs.label_names)
    ]


def label_table(outputs: SplitOutputs) -> ResultTable:
    """Return the results by label as a table."""
    return ResultTable(
        title="Results by label, on test",
        caption="Right: fraction of the label's rows that are predicted correctly. Lost: the teacher is right and the model is "
        "wrong. Won: the model is right and the teacher is wrong.",
        head=("label", "rows", "teacher right", "model right", "lost", "won"),
        rows=tuple(
            (
                result.label,
                f"{result.rows:,}",
                _percent(result.teacher_right, result.rows),
                _percent(result.right, result.rows),
                str(result.lost),
                str(result.won),
            )
            for result in results_by_label(outputs)
        ),
    )


def disagreement_table(outputs: SplitOutputs, most: int) -> ResultTable:
    """Return the rows on which model and teacher disagree, ordered by the sum of both margins, largest first."""
    model, teacher = outputs.model.values, outputs.teacher.values
    model_labels, teacher_labels = model.argmax(-1), teacher.argmax(-1)
    rows = np.flatnonzero(model_labels != teacher_labels)
    margins = [
        _margin(model[row], model_labels[row], teacher_labels[row])
        + _margin(teacher[row], teacher_labels[row], model_labels[row])
        for row in rows
    ]
    names, truth = outputs.label_names, outputs.rows.labels.values
    shown = tuple(
        (show_text(outputs.rows, row), names[truth[row]], names[teacher_labels[row]], names[model_labels[row]])
        for row in rows[np.argsort(margins)[::-1][:most]]
    )
    title = f"Texts on which model and teacher disagree ({len(shown)}), the most confident disagreements first"
    return ResultTable(title=title, head=("text", "label", "teacher", "model"), rows=shown)


def _margin(logits: np.ndarray, label: int, rival: int) -> float:
    """Return how far the logit of a label is above that of another label."""
    return float(logits[label] - logits[rival])


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""

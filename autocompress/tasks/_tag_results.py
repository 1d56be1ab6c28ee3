"""Results of a tagger by type of entity, and the sentences on which it disagrees with its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from autocompress.data.entities import Entity, has_scheme
from autocompress.tasks import ResultTable, SplitOutputs
from autocompress.tasks._tags import TypeCounts, count_types, find_marks, predict_tags, true_tags
from autocompress.tasks._words import WordRows

MOST_MARKS = 12  # of a sentence that are shown
SCORES = ("precision", "recall", "F1")


def type_table(outputs: SplitOutputs) -> ResultTable:
    """Return precision, recall and F1 of each type of entity; of each tag where tags mark no entities."""
    names, truth = outputs.label_names, true_tags(outputs.tokens)
    teacher, model = (
        count_types(predict_tags(logits, outputs.tokens), truth, names) for logits in (outputs.teacher, outputs.model)
    )
    none, marks = TypeCounts(0, 0, 0), has_scheme(names)
    right = "An entity is right if its type, its first word and its last word are." if marks else "O is a tag, too."
    return ResultTable(
        title=f"Results by {'type of entity' if marks else 'tag'}, on test",
        caption=f"Precision: fraction of the predicted ones that are right. Recall: fraction of the actual ones that are "
        f"predicted right. {right}",
        head=("type", "actual", *(f"{whose} {score}" for score in SCORES for whose in ("teacher's", "model's"))),
        rows=tuple(
            _type_cells(name, teacher.get(name, none), model.get(name, none)) for name in sorted({*teacher, *model})
        ),
    )


def _type_cells(name: str, teacher: TypeCounts, model: TypeCounts) -> tuple[str, ...]:
    scores = [score for both in zip(teacher.scores, model.scores, strict=True) for score in both]
    return (name, f"{max(teacher.actual, model.actual):,}", *(f"{100 * score:.1f} %" for score in scores))


def tag_disagreement_table(outputs: SplitOutputs, most: int) -> ResultTable:
    """Return the sentences on which model and teacher disagree, those with the most different entities (or tags) first."""
    rows, find = outputs.rows, find_marks(outputs.label_names)
    assert isinstance(rows, WordRows), "rows that `read` returned"
    tags = (true_tags(outputs.tokens), *(predict_tags(x, outputs.tokens) for x in (outputs.teacher, outputs.model)))
    marks = [tuple(find(of_row) for of_row in all_tags) for all_tags in zip(*tags, strict=True)]
    different = [set(teacher) ^ set(model) for _, teacher, model in marks]
    order = sorted((row for row in range(len(rows)) if different[row]), key=lambda row: -len(different[row]))[:most]
    if not has_scheme(outputs.label_names):  # every word has a tag: only those that differ are shown
        marks = [tuple(_select(of, others) for of in both) for both, others in zip(marks, different, strict=True)]
    shown = tuple((rows.texts[row], *(_show_marks(of, rows.words[row]) for of in marks[row])) for row in order)
    title = f"Sentences on which model and teacher disagree ({len(shown)}), those with the most differences first"
    return ResultTable(title=title, head=("text", "labels", "teacher", "model"), rows=shown)


def _select(marks: Sequence[Entity], different: set[Entity]) -> list[Entity]:
    """Return the marks of the words at which others differ."""
    words = {mark.first for mark in different}
    return [mark for mark in marks if mark.first in words]


def _show_marks(marks: Sequence[Entity], words: Sequence[str]) -> str:
    """Return entities with their types, e.g. `Ada Lovelace: PER; London: LOC`."""
    texts = [f"{' '.join(words[mark.first : mark.last + 1])}: {mark.type}" for mark in marks]
    return "; ".join(texts[:MOST_MARKS]) + ("; …" if len(texts) > MOST_MARKS else "")

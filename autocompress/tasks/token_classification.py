"""Label each word of a text: named entities, parts of speech, chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from autocompress.core.task_columns import Column
from autocompress.tasks import (
    LabelSummary,
    Recognition,
    ResultTable,
    Rows,
    SplitOutputs,
    TaskData,
    Tokens,
    UsageCode,
)
from autocompress.tasks._named_labels import NamedLabels

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

    from autocompress.config import StudyPlan
    from autocompress.data.ragged import Ragged

SHOW = """names = json.load(open("config.json"))["id2label"]
for index, word in enumerate(words):
    if index in encoded.word_ids:  # else the word was cut off
        print(word, names[str(logits[0, encoded.word_ids.index(index)].argmax())])"""
SHOW_IN_TRANSFORMERS = """labels, word_ids = model(**inputs).logits[0].argmax(-1).tolist(), inputs.word_ids()
for index, word in enumerate(words):
    if index in word_ids:  # else the word was cut off
        print(word, model.config.id2label[labels[word_ids.index(index)]])"""


class TokenClassification(NamedLabels):
    """A label of each token: outputs are logits (tokens, labels), predictions are the tags of words, a tuple of each row.

    A word's tag is read at its first token. A word that `max_tokens` cuts off is predicted O, so that it counts in the metric;
    where no label is O, its tag is empty, which is never right.
    """

    name = "token-classification"
    columns: ClassVar[dict[str, Column]] = {
        "tokens": Column("the list of words", "tokens"),
        "tags": Column("the list of tags, names or whole numbers, one of each word", "tags"),
        "text": Column("the text of unlabelled rows, where they have no list of words", is_required=False),
    }
    default_metric = "entity_f1"
    auto_model = "AutoModelForTokenClassification"
    predicts = "tags"
    head_kind = "token-classification"
    axes: ClassVar[tuple[str, ...]] = ("batch", "sequence", "labels")
    reads_words = True
    head = "token classifier"
    difference = "another tag"
    usage = UsageCode(
        text="Ada Lovelace lived in London .",
        show=SHOW,
        show_in_transformers=SHOW_IN_TRANSFORMERS,
        imports=("import json",),
    )

    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        from autocompress.tasks._words import read_word_rows

        return read_word_rows(plan, self, id2label)

    def tokenize(self, rows: Rows, tokenizer: PreTrainedTokenizerFast, max_tokens: int, batch: int = 1000) -> Tokens:
        from autocompress.tasks._words import WordRows, tokenize_words

        assert isinstance(rows, WordRows), "rows that `read` returned"
        return tokenize_words(rows, tokenizer, max_tokens, batch)

    def predict(self, outputs: Ragged, tokens: Tokens) -> np.ndarray:
        """Return the tags of every word, an array (rows,) of tuples."""
        from autocompress.tasks._tags import predict_tags

        return predict_tags(outputs, tokens)

    def references(self, tokens: Tokens, teacher: Ragged) -> np.ndarray:
        from autocompress.tasks._tags import true_tags

        return true_tags(tokens)

    def is_right(self, predicted: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        """Return which rows have every word tagged right."""
        right: np.ndarray = (predicted == references).astype(bool)
        return right

    def facts(
        self, predicted: np.ndarray, expected: np.ndarray, references: np.ndarray, data: TaskData
    ) -> dict[str, object]:
        """Return the recall of each type of entity, of the candidate and of the teacher; of each tag where none mark any."""
        from autocompress.tasks._tags import count_types

        model, teacher = (count_types(tags, references, data.label_names) for tags in (predicted, expected))
        return {"recall": {name: (model[name].recall, teacher[name].recall) for name in model if model[name].actual}}

    def recognize(self, values: Mapping[str, Sequence[object]], named: Mapping[str, str | None]) -> Recognition:
        """Claim data with a column of lists of words, and one of as many tags."""
        from autocompress.tasks._tag_recognition import recognize_tags

        return recognize_tags(values, named)

    def describe_labels(self, values: Mapping[str, Sequence[object]], recognized: Recognition) -> LabelSummary:
        """Choose the F1 of entities, or accuracy where tags mark none."""
        from autocompress.tasks._tag_recognition import describe_tags

        return describe_tags(values, recognized)

    def result_table(self, outputs: SplitOutputs) -> ResultTable | None:
        from autocompress.tasks._tag_results import type_table

        return type_table(outputs)

    def example_table(self, outputs: SplitOutputs, most: int) -> ResultTable:
        from autocompress.tasks._tag_results import tag_disagreement_table

        return tag_disagreement_table(outputs, most)


TASK = TokenClassification()

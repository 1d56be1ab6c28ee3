"""Turn a text into one vector, its embedding, whose cosine similarity to others compares meanings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.core.errors import UsageError
from autocompress.core.task_columns import Column
from autocompress.tasks import (
    LabelSummary,
    Objective,
    Recognition,
    ResultTable,
    Rows,
    SplitOutputs,
    Task,
    TaskData,
    Tokens,
    UsageCode,
)

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

    from autocompress.config import StudyPlan
    from autocompress.data.ragged import Ragged

AGREEMENT = 0.1  # similarities of a pair that differ by more disagree
LEAST_COSINE = 0.99  # of an output to the recorded one: another machine may turn it so far


class FeatureExtraction(Task):
    """Embeddings (rows, hidden) without labels: the model itself is the teacher, and candidates learn its embeddings.

    Predictions are cosine similarities: of labelled pairs, whose labels they are compared with, or of drawn pairs of
    texts, where the teacher's similarities are the truth. A labelled pair is two rows of tokens.
    """

    name = "feature-extraction"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column("the text", "text"),
        "text_pair": Column("the second text of labelled pairs", is_required=False),
        "label": Column("the similarity of both texts, a number", is_required=False),
        "train_text": Column("the text in train and unlabelled, where it is another column", is_required=False),
    }
    default_metric = "spearman"
    auto_model = "AutoModel"
    predicts = "numbers"
    missing_label = float("nan")
    head = "pooled output"
    difference = f"a similarity that differs by more than {AGREEMENT:g}"
    usage = UsageCode(
        text="A dog runs over the grass.",
        second_text="A puppy plays outside.",
        show="a, b = first[0], second[0]\nprint(float(a @ b / np.sqrt((a @ a) * (b @ b))))  # cosine similarity, -1 to 1",
        show_in_transformers=(
            'states, mask = model(**inputs).last_hidden_state.detach(), inputs["attention_mask"][:, :, None]\n'
            'uses_mean = model.config.sentence_embedding["pooling"] == "mean"\n'
            "a, b = (states * mask).sum(1) / mask.sum(1) if uses_mean else states[:, 0]  # without `normalize`\n"
            "print(float(a @ b / (a.norm() * b.norm())))  # cosine similarity, -1 to 1"
        ),
    )
    output = "embeddings"
    axes = ("batch", "hidden")
    model_files = ("modules.json", "*_Pooling/config.json")

    def read(self, plan: StudyPlan, id2label: Mapping[int, str] | None = None) -> TaskData:
        from autocompress.tasks._embedding_rows import read_embedding_rows

        return read_embedding_rows(plan, self)

    def check_teacher(self, plan: StudyPlan, outputs: int, offline: bool = False) -> None:
        from autocompress.tasks._sentence_pooling import read_pooling

        if plan.teacher.fine_tune is not None:
            raise UsageError(
                f"{plan.place('teacher.fine_tune')}: {self.name} has no labels to fine-tune on; the model itself is the"
                " teacher: leave the key out"
            )
        read_pooling(plan.teacher.model, plan.place("teacher.model"), offline)

    def tokenize(self, rows: Rows, tokenizer: PreTrainedTokenizerFast, max_tokens: int, batch: int = 1000) -> Tokens:
        """Return the token ids of every text: two rows, one after the other, for a labelled pair."""
        from autocompress.tasks import _tokens
        from autocompress.tasks._embedding_rows import flat_texts

        return _tokens.tokenize(Rows(flat_texts(rows), None, rows.labels), tokenizer, max_tokens, batch)

    def has_pairs(self, columns: Mapping[str, str | None]) -> bool:
        """Return False: a model reads one text at a time."""
        return False

    def count_inputs(self, rows: Rows) -> int:
        """Return the number of texts: two for each labelled pair."""
        return len(rows) if rows.pairs is None else 2 * len(rows)

    def prepare_model(self, model: Any, source: str, offline: bool = False) -> None:
        """Write the pooling to the model's config, and remove transformers' own pooler, which no embedding needs."""
        from autocompress.core.sentence_embedding import POOLING_KEY
        from autocompress.tasks._sentence_pooling import read_pooling

        setattr(model.config, POOLING_KEY, read_pooling(source, "teacher.model", offline))
        if hasattr(model, "pooler"):
            model.pooler = None

    def check_head(self, source: str, config: PretrainedConfig, data: TaskData, is_untrained: bool) -> None:
        if is_untrained:
            raise UsageError(f"teacher.model: {source!r} lacks weights of its layers; save the whole model again")

    def objective(self, data: TaskData) -> Objective:
        from autocompress.tasks._embedding_objective import EmbeddingObjective

        return EmbeddingObjective()

    def predict(self, outputs: Ragged, tokens: Tokens) -> np.ndarray:
        """Return the cosine similarity (pairs,) of each pair."""
        from autocompress.tasks._similarity import pair_similarities

        return pair_similarities(outputs.values, tokens)

    def references(self, tokens: Tokens, teacher: Ragged) -> np.ndarray:
        return self.predict(teacher, tokens) if self.is_judged_by_teacher(tokens) else tokens.labels.values

    def is_judged_by_teacher(self, tokens: Tokens) -> bool:
        from autocompress.tasks._similarity import has_labelled_pairs

        return not has_labelled_pairs(tokens)

    def disagreement(self, predicted: np.ndarray, expected: np.ndarray) -> float:
        """Return the fraction of pairs whose similarities differ by more than 0.1."""
        return float((abs(predicted - expected) > AGREEMENT).mean())

    def count_changes(self, outputs: np.ndarray, recorded: np.ndarray) -> int:
        """Count the rows whose cosine to the recorded embedding is below 0.99."""
        from autocompress.tasks._similarity import cosines

        return int((cosines(outputs, recorded) < LEAST_COSINE).sum())

    def has_head(self, architectures: Sequence[str], outputs: int) -> bool:
        """Return True: every encoder has tokens to pool."""
        return True

    def suits_model(self, source: str, architectures: Sequence[str]) -> float:
        """Return 1 for a model of sentence-transformers or one without a head, else a half."""
        from pathlib import Path

        is_base = any(name.endswith("Model") for name in architectures)
        return 1.0 if is_base or (Path(source) / "modules.json").is_file() else 0.5

    def recognize(self, values: Mapping[str, Sequence[object]], named: Mapping[str, str | None]) -> Recognition:
        """Claim texts without a label, and two texts with a number that has a fraction."""
        from autocompress.tasks._embedding_recognition import recognize_embeddings

        return recognize_embeddings(values, named)

    def describe_labels(self, values: Mapping[str, Sequence[object]], recognized: Recognition) -> LabelSummary:
        """Choose the Spearman correlation."""
        from autocompress.tasks._embedding_recognition import describe_similarities

        return describe_similarities(values, recognized)

    def result_table(self, outputs: SplitOutputs) -> ResultTable | None:
        from autocompress.tasks._embedding_results import cosine_table

        return cosine_table(outputs)

    def example_table(self, outputs: SplitOutputs, most: int) -> ResultTable:
        from autocompress.tasks._embedding_results import worst_pairs_table

        return worst_pairs_table(outputs, most)


TASK = FeatureExtraction()

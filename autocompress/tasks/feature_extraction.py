"""Turn a text into one vector, its embedding, whose cosine similarity to others compares meanings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.core.errors import UsageError
from autocompress.core.task_columns import Column
from autocompress.tasks import Objective, Rows, Task, TaskData, Tokens

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

    def has_pairs(self, plan: StudyPlan) -> bool:
        """Return False: a model reads one text at a time."""
        return False

    def prepare_model(self, model: Any, source: str, offline: bool = False) -> None:
        """Write the pooling to the model's config, and remove transformers' own pooler, which no embedding needs."""
        from autocompress.models.heads import POOLING_KEY
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


TASK = FeatureExtraction()

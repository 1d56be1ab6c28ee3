"""Measure the quality of a model while it is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from autocompress.metrics import load_metric
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.model_types import Model
from autocompress.search.study_data import StudyData
from autocompress.tasks import Tokens
from autocompress.training.evaluation import evaluate_rows


@dataclass(frozen=True)
class JudgedRows:
    """Labelled rows that a model is judged on."""

    data: StudyData
    metric: str
    tokens: Tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def judge(self, model: Model) -> tuple[float, float]:
        """Return the quality and the loss of a model."""
        task, metric = self.data.task, load_metric(self.metric)
        forward = open_forward(model, load_family(model.config.model_type))
        batch_of = partial(self.data.training_batch, self.tokens)
        outputs, loss = evaluate_rows(forward, batch_of, self.tokens.lengths, self.data.objective)
        score = metric.compute(task.predict(outputs, self.tokens), task.references(self.tokens, outputs))
        return metric.quality_factor * score, loss

"""What tasks share whose outputs are logits of labels that have names, of each text or of each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from autocompress.core.errors import UsageError
from autocompress.tasks import Objective, Task, TaskData, untrained_head

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig

TIE = 1e-6  # labels whose logits differ by less are tied, and rounding decides between them


class NamedLabels(Task):
    """A task whose outputs are logits (…, labels)."""

    head_kind: ClassVar[str]  # of the head of a model, e.g. `classification`
    missing_label = -100  # what torch's cross_entropy ignores

    def head_options(self, data: TaskData) -> dict[str, Any]:
        names = data.label_names
        label2id = {name: index for index, name in enumerate(names)}
        return {"num_labels": len(names), "id2label": dict(enumerate(names)), "label2id": label2id}

    def check_head(self, source: str, config: PretrainedConfig, data: TaskData, is_untrained: bool) -> None:
        if is_untrained:
            raise untrained_head(source, self.head_kind)
        if config.num_labels != len(data.label_names):
            raise UsageError(
                f"teacher.model: {source!r} has {config.num_labels} labels, but the data has {len(data.label_names)}"
                f" ({', '.join(data.label_names)}); use a model of this task, or add `fine_tune: auto` under `teacher`"
            )

    def objective(self, data: TaskData) -> Objective:
        from autocompress.tasks._class_objective import ClassObjective

        return ClassObjective()

    def disagreement(self, predicted: np.ndarray, expected: np.ndarray) -> float:
        """Return the fraction of rows with a label that differs."""
        return float((predicted != expected).mean())

    def count_changes(self, outputs: np.ndarray, recorded: np.ndarray) -> int:
        """Count the rows with another label; where the two best recorded logits are tied, either label is right."""
        import numpy as np

        best = recorded.max(axis=-1)
        chosen = np.take_along_axis(recorded, outputs.argmax(-1)[..., None], axis=-1)[..., 0]
        return int((best - chosen > TIE).reshape(len(recorded), -1).any(axis=1).sum())

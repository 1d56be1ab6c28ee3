"""Fit the output layer of a new classifier before anything else is trained: a linear probe.

A new output layer is random: it takes many steps until it is any good, and its first gradients harm what the pretrained layers
know. Logistic regression on what the layer reads takes seconds, and fine-tuning starts from there (Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.model_types import Model
from autocompress.models.precision import autocast
from autocompress.training.fine_tuning import LabelledRows
from autocompress.training.loop import ordered_batches

INVERSE_REGULARIZATION = 0.1  # C; 0.1 has the lowest loss on validation for 2,000, 4,000 and 9,000 rows of banking77
BATCH = 64
Weights = Mapping[str, Tensor]  # `weight` (labels, width) and `bias` (labels,) of an output layer


def fit_linear_probe(model: Model, rows: LabelledRows, progress: Callable[[float], None]) -> Weights:
    """Return the output layer that predicts the labels of the rows best, all other weights being what they are.

    Empty where the model has no such layer, the rows have one label, or the layers hardly tell texts apart, as random ones. The
    model does not change.
    """
    layer = _output_layer(model)
    if layer is None:
        return {}
    features, labels = _read_features(model, layer, rows, progress)
    mean, spread = features.mean(0), feature_spread(features)
    if len(np.unique(labels)) < 2 or np.median(features.std(0) / spread) < 1:  # the layers hardly tell texts apart
        return {}
    weight, bias = _regress((features - mean) / spread, labels, layer.out_features)
    weight = weight / spread
    return {"weight": torch.from_numpy(weight).float(), "bias": torch.from_numpy(bias - weight @ mean).float()}


def feature_spread(features: np.ndarray) -> np.ndarray:
    """Return by what each feature is divided (width,): its standard deviation, and at least a tenth of the usual magnitude.

    A weight on a feature that hardly varies would be so large that the rounding of 8 bits changes the labels.
    """
    spread: np.ndarray = np.maximum(features.std(0), 0.1 * np.sqrt(np.square(features).mean()) + 1e-6)
    return spread


def set_output_layer(model: Model, weights: Weights) -> None:
    """Give a model the output layer that `fit_linear_probe` returned; where that is empty, it keeps its own."""
    layer = _output_layer(model)
    if layer is not None and weights:
        layer.load_state_dict({name: tensor.to(layer.weight.dtype) for name, tensor in weights.items()})


def _output_layer(model: Model) -> torch.nn.Linear | None:
    """Return the last matrix with an output for each label, outside of the base model; null where there is none."""
    inner = set(model.base_model.modules()) if model.base_model is not model else set()
    own = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module not in inner]
    fitting = [module for module in own if module.out_features == model.config.num_labels and module.bias is not None]
    return fitting[-1] if fitting else None


@torch.no_grad()
def _read_features(
    model: Model, layer: torch.nn.Linear, rows: LabelledRows, progress: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the layer reads of each row (rows, width), without dropout, and the labels (rows,), in the same order."""
    forward, read = open_forward(model.eval(), load_family(model.config.model_type)), list[Tensor]()
    labels, batches = list[Tensor](), ordered_batches(rows.lengths, BATCH)
    hook = layer.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].float()))
    try:
        for number, chosen in enumerate(batches):
            batch = rows.batch_of(chosen)
            labels.append(batch["labels"])
            with autocast():
                forward.run_batch(batch)
            progress((number + 1) / len(batches))
    finally:
        hook.remove()
    return torch.cat(read).numpy().astype(np.float64), torch.cat(labels).numpy()


def _regress(features: np.ndarray, labels: np.ndarray, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (outputs, width) and bias (outputs,) of logistic regression.

    An output whose label no row has gets no weight, and the bias of the rarest prediction.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=200, tol=1e-3).fit(features, labels)
    known_weight, known_bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # one row, of the logit of the second class
        known_weight = np.concatenate((-known_weight, known_weight)) / 2
        known_bias = np.concatenate((-known_bias, known_bias)) / 2
    weight, bias = np.zeros((outputs, features.shape[1])), np.full(outputs, known_bias.min())
    weight[fitted.classes_], bias[fitted.classes_] = known_weight, known_bias
    return weight, bias

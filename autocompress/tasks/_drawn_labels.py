"""Lower-variance estimates of the drop than the most probable labels give: drawn labels, and the reference's probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARPNESS = 2.0  # factor on calibrated logits before labels are drawn
TEMPERATURES = np.geomspace(0.02, 20, 200)  # candidate factors on logits

Floats = NDArray[np.float64]


def draw_labels(
    logits: np.ndarray, reference_logits: np.ndarray, labels: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels (draws, units) of a candidate and of its reference; logits are (units, labels), labels (units,).

    A unit near the decision boundary flips at the slightest change, and the hard drop then counts it as a whole one; on
    872 rows that is most of the noise of a drop. A drop of drawn labels counts it for about its probability. Reference
    logits are calibrated by one temperature (least log loss on the labels; Guo et al. 2017). The candidate's logits get
    the temperature that makes it as confident, since a distilled model is often right with less confidence. Both are
    sharpened by `SHARPNESS`, and both draw with the same noise (Gumbel), so that equal logits draw equal labels.
    """
    calibrated = _log_softmax(reference_logits * _best_temperature(reference_logits, labels))
    matched = _match_confidence(logits, np.exp(calibrated).max(-1).mean())
    drawn, expected = (np.empty((draws, len(labels)), np.int64) for _ in range(2))
    for draw in range(draws):
        noise = rng.gumbel(size=logits.shape)
        drawn[draw] = (SHARPNESS * matched + noise).argmax(-1)
        expected[draw] = (SHARPNESS * calibrated + noise).argmax(-1)
    return drawn, expected


def confidence_drops(
    logits: np.ndarray, reference_logits: np.ndarray, known_logits: np.ndarray, known_labels: np.ndarray
) -> Floats:
    """Return for each unit (units,) the reference's probability of its own label minus that of the candidate's label.

    The probabilities are calibrated by one temperature on other units whose labels are known (Guo et al. 2017).
    """
    log_probabilities = _log_softmax(reference_logits * _best_temperature(known_logits, known_labels))
    units = np.arange(len(logits))
    own, others = (log_probabilities[units, chosen.argmax(-1)] for chosen in (reference_logits, logits))
    return np.asarray(np.exp(own) - np.exp(others))


def _best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the factor on logits with the least log loss."""
    rows = np.arange(len(labels))
    losses = [-_log_softmax(logits * factor)[rows, labels].mean() for factor in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _match_confidence(logits: np.ndarray, confidence: float) -> Floats:
    """Return log probabilities (units, labels) at the temperature whose mean largest probability is nearest `confidence`."""
    scaled = [_log_softmax(logits * factor) for factor in TEMPERATURES]
    return min(scaled, key=lambda log: abs(float(np.exp(log).max(-1).mean()) - confidence))


def _log_softmax(logits: np.ndarray) -> Floats:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))

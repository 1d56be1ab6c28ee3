"""Keep fewer layers, chosen by how much removing each one changes the predictions on calibration rows."""

from __future__ import annotations

from autocompress.models.candidate import Candidate
from autocompress.models.importance import Importance

VERSION = 1


def apply(candidate: Candidate, value: int, importance: Importance) -> None:
    """Keep the `value` layers that come last in the measured order of removal; their sequence stays the same."""
    if value == len(candidate.kept_layers):
        return
    kept = sorted(importance.removal[len(candidate.kept_layers) - value :])
    candidate.family.keep_layers(candidate.model, kept)
    candidate.kept_layers = tuple(candidate.kept_layers[index] for index in kept)

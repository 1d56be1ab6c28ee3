"""One file per way to run an artifact.

A runtime file offers `available() -> str | None` (its version, null where it cannot run here), `supported(run)` (the values
of each decision that it really runs here, or wherever `run` runs a model) and `open_session(folder, threads) -> Session`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Session(Protocol):
    """An artifact, opened as a plain user of the runtime would open it."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels) of input_ids, attention_mask (and token_type_ids), each (batch, sequence) int64."""

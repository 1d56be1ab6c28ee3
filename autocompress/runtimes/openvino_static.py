"""OpenVINO on the CPU, compiled anew for each size of input: small models take about a third less time than with free sizes.

It reads the files that `openvino` reads. A text is padded to the next of a few sizes, two to an octave (8, 16, 24, 32, 48, 64,
96, … tokens), the first of each size waits until the model is compiled for it (some tenths of a second), and each size takes
memory of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.runtimes import openvino

KEPT = 12  # sizes that stay compiled: two to an octave, up to 512 tokens
MODEL_FILES, TARGET_FORMAT = openvino.MODEL_FILES, openvino.TARGET_FORMAT
available, load, supported = openvino.available, openvino.load, openvino.supported


class StaticSession:
    """A compiled model for each of the last sizes it met."""

    def __init__(self, model: Path, threads: int, profile: bool = False) -> None:
        self._of = lru_cache(KEPT)(lambda shape: openvino.OpenvinoSession(model, threads, profile, shape))
        self._too_long = float("inf")  # the least size that is known to be longer than the model's table of positions

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        session, wide = self.fitting(feeds)
        return session.run(wide)

    def fitting(self, feeds: Mapping[str, np.ndarray]) -> tuple[openvino.OpenvinoSession, Mapping[str, np.ndarray]]:
        """The model of the size that holds these texts, and the texts at that size; at their own where that is too long."""
        wide = padded(feeds)
        shape = wide["input_ids"].shape
        if shape[1] < self._too_long:
            try:
                return self._of(shape), wide
            except RuntimeError:  # of OpenVINO, which cannot add the positions
                self._too_long = shape[1]
        return self._of(feeds["input_ids"].shape), feeds


def open_session(folder: Path, threads: int) -> StaticSession:
    """Open an artifact's model.onnx; it is compiled when its first input comes."""
    return StaticSession(folder / "model.onnx", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """The operators of a forward pass at the size of `feed`, as of `openvino`."""
    return openvino.audited(*StaticSession(folder / "model.onnx", threads, profile=True).fitting(feed))


def padded(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The same texts at the next size, masked where there is none."""
    length = feeds["input_ids"].shape[1]
    more = size_of(length) - length
    return {name: np.pad(value, ((0, 0), (0, more))) for name, value in feeds.items()} if more else feeds


def size_of(length: int) -> int:
    """The least of 8, 16, 24, 32, 48, 64, 96, … that holds so many tokens."""
    step = max(8, 1 << max(0, (length - 1).bit_length() - 2))
    return -(-length // step) * step

"""OpenVINO on the CPU, compiled anew for each size of input: small models run about a third faster than where sizes are free.

It reads the files that `openvino` reads. A text is padded to the next of a few sizes, two to an octave (8, 16, 24, 32, 48, 64,
96, … tokens), the first of each size waits until the model is compiled for it (some tenths of a second), and each size takes
memory of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from autocompress.measurement import Operator
from autocompress.runtimes import openvino

KEPT = 12  # sizes that stay compiled: two to an octave, up to 512 tokens
MODEL_FILES, DIALECT = openvino.MODEL_FILES, openvino.DIALECT
available, load, supported = openvino.available, openvino.load, openvino.supported


class StaticSession:
    """A compiled model for each of the last sizes it met."""

    def __init__(self, model: Path, threads: int) -> None:
        self._of = lru_cache(KEPT)(lambda shape: openvino.OpenvinoSession(model, threads, shape=shape))

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        try:
            wide = padded(feeds)
            session = self._of(wide["input_ids"].shape)
        except RuntimeError:  # of OpenVINO: the next size is longer than the model's table of positions
            wide, session = feeds, self._of(feeds["input_ids"].shape)
        logits: np.ndarray = session.run(wide)
        return logits


def open_session(folder: Path, threads: int) -> StaticSession:
    """Open an artifact's model.onnx; it is compiled when its first input comes."""
    return StaticSession(folder / "model.onnx", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """The operators of a forward pass at the size of `feed`, as of `openvino`."""
    wide = padded(feed)
    session = openvino.OpenvinoSession(folder / "model.onnx", threads, profile=True, shape=wide["input_ids"].shape)
    return openvino.audited(session, wide)


def padded(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The same texts at the next size, masked where there is none."""
    length = feeds["input_ids"].shape[1]
    more = size_of(length) - length
    return {name: np.pad(value, ((0, 0), (0, more))) for name, value in feeds.items()} if more else feeds


def size_of(length: int) -> int:
    """The least of 8, 16, 24, 32, 48, 64, 96, … that holds so many tokens."""
    step = max(8, 1 << max(0, (length - 1).bit_length() - 2))
    return -(-length // step) * step

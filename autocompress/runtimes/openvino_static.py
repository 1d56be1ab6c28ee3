"""OpenVINO on the CPU, compiled for each input length: small models take about a third less time than with dynamic lengths.

It reads the files that `openvino` reads. A text is padded to the next of a few lengths: 8, 16, 24, 32, 48, 64, 96, … tokens.
The first text of each length waits some tenths of a second until the model is compiled, and each length takes its own memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from autocompress.core.measurement import Operator
from autocompress.runtimes import RuntimeSnippet, openvino

MOST_COMPILED = 12  # shapes that stay compiled; up to 512 tokens there are 12 lengths


class StaticSession:
    """A compiled model for each of the last shapes of inputs."""

    def __init__(self, model: Path, threads: int, profile: bool = False) -> None:
        self._compile = lru_cache(MOST_COMPILED)(lambda shape: openvino.OpenvinoSession(model, threads, profile, shape))
        self._too_long = float("inf")  # the smallest length that is known to exceed the model's positions

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return outputs (batch, width), or (batch, sequence, width) without the added padding."""
        session, padded = self.select_session(feeds)
        outputs = session.run(padded)
        return outputs if outputs.ndim == 2 else outputs[:, : feeds["input_ids"].shape[1]]

    def select_session(
        self, feeds: Mapping[str, np.ndarray]
    ) -> tuple[openvino.OpenvinoSession, Mapping[str, np.ndarray]]:
        """Return the model for the padded length and the padded texts; without padding where that length is too long."""
        padded = pad_inputs(feeds)
        shape = padded["input_ids"].shape
        if shape[1] < self._too_long:
            try:
                return self._compile(shape), padded
            except RuntimeError:  # OpenVINO cannot add so many positions
                self._too_long = shape[1]
        return self._compile(feeds["input_ids"].shape), feeds


def open_session(folder: Path, threads: int) -> StaticSession:
    """Open an artifact's model.onnx; the first input starts its compilation."""
    return StaticSession(folder / "model.onnx", threads)


def audit(folder: Path, feed: Mapping[str, np.ndarray], threads: int) -> list[Operator]:
    """Return the operators of a forward pass at the padded length of `feed`."""
    return openvino.audit_session(*StaticSession(folder / "model.onnx", threads, profile=True).select_session(feed))


def pad_inputs(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Pad the texts to the next length; the mask of the padding is 0."""
    length = feeds["input_ids"].shape[1]
    padding = padded_length(length) - length
    return {name: np.pad(value, ((0, 0), (0, padding))) for name, value in feeds.items()} if padding else feeds


def padded_length(length: int) -> int:
    """Return the smallest of 8, 16, 24, 32, 48, 64, 96, … that is at least `length`."""
    step = max(8, 1 << max(0, (length - 1).bit_length() - 2))
    return -(-length // step) * step


RUNTIME = replace(
    openvino.RUNTIME,
    open_session=open_session,
    audit=audit,
    snippet=RuntimeSnippet(
        imports="import functools\nimport openvino",
        opening='core, options = openvino.Core(), {{"INFERENCE_NUM_THREADS": {threads}}}\n\n'
        "@functools.cache  # compiles once per text length; pad the texts to a few lengths\n"
        "def compiled(tokens):\n"
        '    model = core.read_model("model.onnx")\n'
        "    model.reshape({{name: [1, tokens] for name in model.inputs}})\n"
        '    return core.compile_model(model, "CPU", options)\n',
        call="compiled(len(encoded.ids))({inputs})[0]",
    ),
)

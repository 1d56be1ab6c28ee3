"""Neural Compressor 3: static int8 by PyTorch's export, compiled by Inductor.

As its documentation on PyTorch says: `export`, `prepare` with the configuration of static int8, calibration on training rows,
`convert`, then `torch.compile` with frozen weights. The saved program keeps fp32 weights; compiling quantizes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_recipes import Peer
from benchmarks.peer_recipes._transformers import INPUTS, calibration_feeds, load_model, return_logits
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> None:
    """Export, calibrate and quantize the teacher."""
    import torch
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import INT8StaticQuantConfig, convert, prepare

    example = tuple(torch.ones(1, 9, dtype=torch.int64) for _ in INPUTS)
    length = torch.export.Dim("sequence", min=2, max=case.max_tokens)
    shapes = {name: {1: length} for name in INPUTS}
    exported = export(return_logits(load_model(case.teacher)), example, dynamic_shapes=shapes)
    prepared = prepare(exported, INT8StaticQuantConfig())
    with torch.no_grad():
        for feed in calibration_feeds(case):
            prepared(*(torch.from_numpy(feed[name]) for name in INPUTS))
    quantized = convert(prepared)
    torch.export.save(torch.export.export(quantized, example, dynamic_shapes=shapes), folder / "model.pt2")


def open_model(case: Case, folder: Path, threads: int) -> Any:
    """Open and compile the model."""
    import torch
    import torchao.quantization.pt2e  # noqa: F401  # it defines the operators of the saved program
    from torch._inductor import config

    torch.set_num_threads(threads)
    config.freezing = True
    compiled = torch.compile(torch.export.load(folder / "model.pt2").module(), dynamic=True)

    class Session:
        def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            with torch.no_grad():
                return np.asarray(compiled(*(torch.from_numpy(feeds[name]) for name in INPUTS)))

    return Session()


PEER = Peer(
    title="Neural Compressor 3, static int8",
    kind="training-free",
    environment="neural_compressor",
    packages=("neural-compressor", "torch", "torchao"),
    build=build,
    open_model=open_model,
    model_files=("model.pt2",),
)

"""Export the forward pass of a candidate as an ONNX graph or as a PyTorch program, in fp32."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from torch import nn
from transformers import PretrainedConfig

from autocompress.core.errors import AutocompressError
from autocompress.deployment.folded_forward import ExportedModel
from autocompress.formats.torch_export import TorchProgram
from autocompress.models.candidate import Candidate
from autocompress.tasks import ModelInterface
from autocompress.techniques.stages import InferenceTechnique, active_of

OPSET = 20
TOLERANCE = 1e-3  # of the logits of an exported graph, relative to the largest


def export_graph(candidate: Candidate, interface: ModelInterface) -> onnx.ModelProto:
    """Export an ONNX graph with inputs (batch, sequence) of any size; only pairs of texts have the input token_type_ids."""
    exported = ExportedModel(candidate)
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if exported.has_types(interface.has_pairs) else [])]
    module = _wrap(exported, candidate)
    if candidate.family.is_known:
        graph = _trace(module, names, interface)
    else:
        graph = _trace_unknown(module, names, interface, candidate.model.config)
    graph.producer_name, graph.producer_version, graph.doc_string = "autocompress", "", ""
    return graph


def _trace(module: nn.Module, names: Sequence[str], interface: ModelInterface) -> onnx.ModelProto:
    axes = {axis: name for axis, name in enumerate(interface.axes) if name in ("batch", "sequence")}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about the older exporter, which takes 0.5 s instead of 4 s for an equal graph
        torch.onnx.export(
            module,
            tuple(torch.ones(2, 9, dtype=torch.int64) for _ in names),
            buffer,  # type: ignore[arg-type]  # the older exporter writes to any binary file
            input_names=list(names),
            output_names=[interface.output],
            dynamic_axes={**{name: {0: "batch", 1: "sequence"} for name in names}, interface.output: axes},
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def _trace_unknown(
    module: nn.Module, names: Sequence[str], interface: ModelInterface, config: PretrainedConfig
) -> onnx.ModelProto:
    """Trace transformers' own forward pass, and check that the graph serves other shapes than the traced one.

    AutocompressError where the exporter does not know an operator, or where the graph gives other outputs.
    """
    import onnxruntime

    rng, model_type = np.random.default_rng(0), config.model_type
    ids = rng.integers(0, config.vocab_size, (3, 17))
    mask = np.ones_like(ids)
    mask[1, 12:] = 0
    feeds = dict(zip(names, (ids, mask, np.zeros_like(ids)), strict=False))
    with torch.no_grad():
        expected = module(*(torch.from_numpy(feeds[name]) for name in names)).numpy()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where it fails, the exporter prints the whole graph
            graph = _trace(module, names, interface)
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        logits = session.run(None, feeds)[0]
    except Exception as error:  # exporter and runtime have exceptions of many kinds
        reason = str(error).strip().partition("\n")[0]
        raise AutocompressError(
            f"teacher.model: the family {model_type!r} cannot be exported to ONNX: {reason}"
        ) from error
    if logits.shape != expected.shape or np.abs(logits - expected).max() > TOLERANCE * (1 + np.abs(expected).max()):
        raise AutocompressError(
            f"teacher.model: the family {model_type!r} cannot be exported to ONNX: the graph gives other"
            " outputs than transformers"
        )
    return graph


def export_program(candidate: Candidate, interface: ModelInterface) -> TorchProgram:
    """Export a PyTorch program with the inputs of `export_graph`."""
    exported = ExportedModel(candidate)
    inputs = 3 if exported.has_types(interface.has_pairs) else 2
    return TorchProgram(_wrap(exported, candidate), inputs, exported.most_tokens)


def _wrap(exported: ExportedModel, candidate: Candidate) -> nn.Module:
    """Return the module to trace: the forward pass, wrapped by the decisions of the recipe about inference."""
    module: nn.Module = exported
    for technique, value in active_of(candidate.recipe, InferenceTechnique):
        module = technique.wrap(module, value)
    return module.eval()

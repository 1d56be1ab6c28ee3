"""Export the forward pass of a candidate as an ONNX graph or as a PyTorch program, in fp32."""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from torch import nn

from autocompress.deployment.folded_forward import ExportedModel
from autocompress.formats.torch_export import TorchProgram
from autocompress.models.candidate import Candidate
from autocompress.tasks import ModelInterface
from autocompress.techniques.stages import InferenceTechnique, active_of

OPSET = 20


def export_graph(candidate: Candidate, interface: ModelInterface) -> onnx.ModelProto:
    """Export an ONNX graph with inputs (batch, sequence) of any size; only pairs of texts have the input token_type_ids."""
    exported = ExportedModel(candidate)
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if exported.has_types(interface.has_pairs) else [])]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about the older exporter, which takes 0.5 s instead of 4 s for an equal graph
        torch.onnx.export(
            _wrap(exported, candidate),
            tuple(torch.ones(2, 9, dtype=torch.int64) for _ in names),
            buffer,  # type: ignore[arg-type]  # the older exporter writes to any binary file
            input_names=names,
            output_names=[interface.output],
            dynamic_axes={
                **{name: {0: "batch", 1: "sequence"} for name in names},
                interface.output: {
                    axis: name for axis, name in enumerate(interface.axes) if name in ("batch", "sequence")
                },
            },
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    graph.producer_name, graph.producer_version, graph.doc_string = "autocompress", "", ""
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

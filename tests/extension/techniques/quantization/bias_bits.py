"""Store the biases in fewer bits; they are widened when the model is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, BitWidths
from autocompress.core.scalar import Scalar
from autocompress.techniques.stages import ExportContext, ExportTechnique

if TYPE_CHECKING:
    import onnx

    from autocompress.formats.torch_export import TorchProgram


class BiasBits(ExportTechnique):
    """The bits of every bias."""

    name, order = "bias_bits", 9
    domain = BitWidths((32, 16))

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 32

    def describe(self, value: Scalar) -> str:
        return "" if value == 32 else f"{value}-bit biases"

    def apply(self, graph: onnx.ModelProto, value: Scalar, context: ExportContext) -> None:
        import numpy as np
        import onnx
        from onnx import helper

        from autocompress.formats.onnx_graph import OnnxGraph

        view = OnnxGraph(graph)
        constants = view.read_constants()

        def change(node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
            biases = [name for name in node.input if name in constants and constants[name].ndim == 1]
            if node.op_type != "Add" or len(biases) != 1 or constants[biases[0]].dtype != np.float32:
                return None
            base, (bias,) = node.output[0], biases
            narrow = view.add_constant(f"{base}_b16", constants[bias].astype(np.float16))
            cast = helper.make_node("Cast", [narrow], [f"{base}_b32"], to=onnx.TensorProto.FLOAT)
            inputs = [f"{base}_b32" if name == bias else name for name in node.input]
            return [cast, helper.make_node("Add", inputs, list(node.output))]

        view.rewrite(change)

    def apply_program(self, program: TorchProgram, value: Scalar) -> None:
        from autocompress.formats.target_format import UnsupportedPrecision

        raise UnsupportedPrecision(f"bias_bits: {value}: PyTorch adds biases in the type of its products")


TECHNIQUE = BiasBits()

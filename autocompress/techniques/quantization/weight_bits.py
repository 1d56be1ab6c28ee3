"""Store and multiply the weight matrices in fewer bits: 16 (size only), 8 (int8 activations, too), 4 and 2 (block-wise)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, BitWidths
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import ExportContext, ExportTechnique

if TYPE_CHECKING:
    import onnx

    from autocompress.formats.torch_export import TorchProgram


class WeightBits(ExportTechnique):
    """The bits of every weight matrix."""

    name, order = "weight_bits", 1
    domain = BitWidths((32, 16, 8, 4, 2))
    latency_role = "kernel"
    is_keyed_when_neutral = True

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 32

    def describe(self, value: Scalar) -> str:
        return "fp32" if value == 32 else f"{value}-bit"

    def first_value(self, anatomy: Anatomy) -> Scalar:
        return 8  # the fastest

    def apply(self, graph: onnx.ModelProto, value: Scalar, context: ExportContext) -> None:
        """Quantize every weight matrix; where activations have fixed ranges, measure those of the fp32 graph first."""
        from autocompress.techniques.quantization import _matrices

        self.check_stored(value)
        is_static = context.target_format.static and value == 8
        ranges = _matrices.measure_activation_ranges(graph, context.rows()) if is_static else None
        _matrices.quantize_matrices(graph, as_int(value), context.target_format.contrib, ranges)

    def apply_program(self, program: TorchProgram, value: Scalar) -> None:
        from autocompress.techniques.quantization import _matrices

        self.check_stored(value)
        _matrices.quantize_program_matrices(program, as_int(value))

    def product_type(self, value: Scalar) -> str | None:
        return "bfloat16" if value == 16 else None


TECHNIQUE = WeightBits()

"""Store the embedding tables in fewer bits; only the rows that are looked up are dequantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.domain import Anatomy, BitWidths
from autocompress.core.scalar import Scalar, as_int
from autocompress.techniques.stages import ExportContext, ExportTechnique

if TYPE_CHECKING:
    import onnx

    from autocompress.formats.torch_export import TorchProgram


class EmbeddingBits(ExportTechnique):
    """The bits of every embedding table."""

    name, order = "embedding_bits", 2
    domain = BitWidths((32, 8, 4))
    latency_role = "size"
    is_keyed_when_neutral = True

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 32

    def describe(self, value: Scalar) -> str:
        return "" if value == 32 else f"{value}-bit embeddings"

    def first_value(self, anatomy: Anatomy) -> Scalar:
        return (
            8  # which lose nothing; 4 bits cost models of one layer up to 4 points, of three 0.1 (see studies/LOG.md)
        )

    def apply(self, graph: onnx.ModelProto, value: Scalar, context: ExportContext) -> None:
        from autocompress.techniques.quantization import _tables

        self.check_stored(value)
        _tables.quantize_tables(graph, as_int(value), context.target_format.contrib)

    def apply_program(self, program: TorchProgram, value: Scalar) -> None:
        from autocompress.techniques.quantization import _tables

        self.check_stored(value)
        _tables.quantize_program_tables(program, as_int(value))


TECHNIQUE = EmbeddingBits()

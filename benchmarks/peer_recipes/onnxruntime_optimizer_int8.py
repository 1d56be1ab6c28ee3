"""onnxruntime's transformer optimizer, then its dynamic int8.

As in onnxruntime's notebook on quantized BERT classifiers: `optimize_model` for the model type with the fusion of the embedding
layer switched off, then `quantize_dynamic` with signed 8-bit weights, per channel. `DefaultTensorType` is what its error asks
for where the fused operators hide the type of a tensor.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._transformers import export_onnx, load_model, open_onnx
from benchmarks.peers_cases import Case


def build(case: Case, folder: Path) -> Built:
    """Export the teacher, fuse its operators and quantize it."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    model = load_model(case.teacher)
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False
    with tempfile.TemporaryDirectory() as temporary:
        exported, fused = Path(temporary) / "model.onnx", Path(temporary) / "fused.onnx"
        export_onnx(model, exported)
        optimized = optimize_model(
            str(exported), "bert", model.config.num_attention_heads, model.config.hidden_size, options
        )
        optimized.save_model_to_file(str(fused))
        quantize_dynamic(
            str(fused),
            str(folder / "model.onnx"),
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    counts = {name: count for name, count in optimized.get_fused_operator_statistics().items() if count}
    return Built(notes="fused: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


PEER = Peer(
    title="onnxruntime, transformer optimizer, dynamic int8",
    kind="training-free",
    packages=("onnxruntime", "torch"),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)

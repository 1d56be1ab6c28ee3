"""onnxruntime on the CPU, in a default session: no option set but the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.errors import DeviceLost, UsageError
from autocompress.recipe import Scalar

Run = Callable[[bytes, Mapping[str, np.ndarray]], np.ndarray]  # a model's bytes and its inputs -> its output
PROBE = {"input_ids": np.arange(8, dtype=np.int64)[None]}
MODEL_FILES = ("model.onnx",)  # what the runtime loads; size_mb counts these and their external data


def available() -> str | None:
    """The runtime's version, or null where it is not installed."""
    return metadata.version("onnxruntime") if util.find_spec("onnxruntime") else None


class OnnxSession:
    """A default `onnxruntime.InferenceSession`."""

    def __init__(self, model: str | bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (batch, labels)."""
        outputs = self._session.run(None, {name: feeds[name] for name in self.inputs})
        return np.asarray(outputs[0])


def open_session(folder: Path, threads: int) -> OnnxSession:
    """Open an artifact's model.onnx."""
    return OnnxSession(str(folder / "model.onnx"), threads)


def supported(run: Run | None = None) -> dict[str, tuple[Scalar, ...]]:
    """Values of each decision that really run, found by running a small graph of each; here, or wherever `run` runs it."""
    return _supported(run or _run_here)


@cache
def _supported(run: Run) -> dict[str, tuple[Scalar, ...]]:
    from autocompress import registry

    return {
        "weight_bits": _running("weight_bits", run),
        "embedding_bits": _running("embedding_bits", run),
        "attention": tuple(registry.names("attentions")),
    }


def _run_here(model: bytes, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    return OnnxSession(model, 1).run(feeds)


def _running(decision: str, run: Run) -> tuple[int, ...]:
    from autocompress import registry

    technique = registry.load("techniques", decision)
    exact = run(_small_graph().SerializeToString(), PROBE)
    return tuple(bits for bits in technique.VALUES if bits == 32 or _runs(technique.apply, bits, run, exact))


def _runs(apply: Callable[[Any, int], None], bits: int, run: Run, exact: np.ndarray) -> bool:
    """Whether a table and a matrix in so many bits give about what they give in 32."""
    graph = _small_graph()
    apply(graph, bits)
    try:
        rough = run(graph.SerializeToString(), PROBE)
    except (DeviceLost, UsageError):
        raise
    except Exception:  # onnxruntime raises types of its own where it has no kernel
        return False
    return bool(np.abs(rough - exact).mean() < np.abs(exact).mean())


def _small_graph() -> Any:
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    tensors = {"table": rng.normal(size=(64, 128)), "matrix": rng.normal(size=(128, 64))}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "matrix"], ["y"]),
        ],
        "probe",
        [helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model

"""The contract of every runtime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from autocompress import benchmarking
from autocompress.config import read_plan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.stage import Stage
from autocompress.deployment.deploy import deploy
from autocompress.deployment.model_export import export_program
from autocompress.interfaces.cli import main
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.models.candidate import Candidate
from autocompress.runtimes import RUNTIMES, Runtime, load_runtime_of, openvino_static, read_runtime_name
from autocompress.runtimes.onnxruntime import OnnxSession
from autocompress.search.plan_check import prepare
from autocompress.search.supervisor import run_search
from autocompress.storage.artifact_store import Store
from autocompress.study import read_study
from autocompress.techniques.quantization import _matrices
from autocompress.techniques.quantization.weight_bits import WeightBits
from autocompress.techniques.stages import ExportTechnique, active_of
from tests.models import TOLERANCE_8_BITS, interface, tiny_batch, tiny_candidate
from tests.tiny import POSITIONS, tiny_study, tiny_tokenizer

ROUNDING = {
    "onnxruntime": 1e-4,
    "onnxruntime_cuda": 5e-3,
    "openvino": 0.05,
    "openvino_static": 0.05,
    "torch": 1e-4,
    "torch_cuda": 5e-3,
}  # of logits that differ by about 1; OpenVINO computes in bf16 where the CPU supports it
SMALLER = {"depth": 2, "head_sparsity": 0.5, "ffn_sparsity": 0.5}
NARROW = {"depth": 1, "weight_bits": 8, "embedding_bits": 8}
NO_COMPILER = shutil.which(os.environ.get("CXX", "g++")) is None  # PyTorch compiles its packages


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name == "torch" else ())  # PyTorch compiles every package
        for name in RUNTIMES.names()
    ]
)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Return each runtime that can run on this machine."""
    runtime = RUNTIMES.load(request.param)
    if runtime.available() is None:
        pytest.skip(f"{request.param} is not installed, or has no device")
    if runtime.target_format.program and NO_COMPILER:
        pytest.skip(f"{request.param} compiles its packages, and no C++ compiler is installed")
    return runtime


def short_name(runtime: Runtime) -> str:
    return next(name for name, entry in RUNTIMES.entries().items() if entry is runtime)


def draw_inputs(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw a batch for a tiny BERT, with some padding."""
    return {name: tensor.numpy() for name, tensor in tiny_batch("bert", rows, length, seed=seed).items()}


@pytest.fixture
def artifacts(together: Store) -> Callable[..., Path]:
    """Return a function that makes the artifact of a tiny candidate once: compiling takes some runtimes half a minute."""

    def artifact(runtime: Runtime, **decisions: Any) -> Path:
        def build(folder: Path) -> None:
            deployed(tiny_candidate(**decisions), runtime, folder / "a")

        return (
            together.stage(Stage("deployed", 1, {"runtime": short_name(runtime), "decisions": decisions}), build) / "a"
        )

    return artifact


def compute_logits(
    runtime: Runtime, artifacts: Callable[..., Path], feed: dict[str, np.ndarray], **decisions: Any
) -> np.ndarray:
    """Return the logits of a tiny candidate; a PyTorch program is not compiled, which would take half a minute."""
    if not runtime.target_format.program:
        logits: np.ndarray = runtime.open_session(artifacts(runtime, **decisions), 1).run(feed)
        return logits
    candidate = tiny_candidate(**decisions)
    program = export_program(candidate, interface())
    for technique, value in active_of(candidate.recipe, ExportTechnique):
        technique.apply_program(program, value)
    return program.run(*(torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))).numpy()


def deployed(candidate: Candidate, runtime: Runtime, folder: Path) -> Path:
    """Write the candidate's artifact for a runtime to a folder, and return the folder."""
    folder.mkdir(parents=True)
    rows = [draw_inputs(4, 20, seed) for seed in range(8)]
    deploy(candidate, tiny_tokenizer("bert"), interface(), short_name(runtime), folder, lambda: rows)
    return folder


def test_runtime_returns_the_logits_of_torch_at_every_shape(runtime: Runtime, artifacts: Callable[..., Path]) -> None:
    candidate = tiny_candidate(**SMALLER)
    session = runtime.open_session(artifacts(runtime, **SMALLER), 1)
    for rows, length in ((1, 5), (3, 17), (1, 9), (5, 40)):
        feed = draw_inputs(rows, length)
        with torch.no_grad():
            expected = candidate.model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
        np.testing.assert_allclose(session.run(feed), expected, atol=ROUNDING[short_name(runtime)])


@pytest.mark.parametrize(("attention", "window"), [("local", 4), ("linear", None)])
def test_runtime_runs_the_attentions_it_supports(
    runtime: Runtime, attention: str, window: int | None, artifacts: Callable[..., Path]
) -> None:
    if attention not in runtime.supported()["attention"]:
        pytest.skip(f"{short_name(runtime)} does not support {attention} attention")
    decisions = {"attention": attention, "attention_window": window}
    candidate = tiny_candidate(**decisions)
    feed = draw_inputs(2, 9)
    with torch.no_grad():
        expected = candidate.model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
    logits = compute_logits(runtime, artifacts, feed, **decisions)
    np.testing.assert_allclose(logits, expected, atol=ROUNDING[short_name(runtime)])


@pytest.mark.parametrize(
    ("decision", "bits", "tolerance"),
    [("weight_bits", bits, tolerance) for bits, tolerance in {16: 0.05, 8: TOLERANCE_8_BITS, 4: 1.0, 2: 4.0}.items()]
    + [("embedding_bits", bits, tolerance) for bits, tolerance in {8: 0.1, 4: 1.0}.items()],
)
def test_runtime_runs_the_bits_it_supports(
    runtime: Runtime, decision: str, bits: int, tolerance: float, artifacts: Callable[..., Path]
) -> None:
    if bits not in runtime.supported()[decision]:
        pytest.skip(f"{short_name(runtime)} has no kernels for {decision} {bits}")
    feed = draw_inputs(4, 20)
    exact, rough = (compute_logits(runtime, artifacts, feed, **values) for values in ({}, {decision: bits}))
    assert 0 < np.abs(rough - exact).max() < tolerance
    if not runtime.target_format.program:  # most of so small a program is code
        folders = artifacts(runtime), artifacts(runtime, **{decision: bits})
        sizes = [benchmarking.size_mb(runtime, folder) for folder in folders]
        assert sizes[1] < 0.95 * sizes[0]


def test_audit_lists_operators_with_their_precision(runtime: Runtime, artifacts: Callable[..., Path]) -> None:
    operators = {}
    for bits, decisions in ((32, SMALLER), (8, NARROW)):
        operators[bits] = runtime.audit(artifacts(runtime, **decisions), draw_inputs(1, 9), 1)
        assert sum(operator.share for operator in operators[bits]) == pytest.approx(1, abs=0.01)
        assert all(operator.count >= 1 for operator in operators[bits])
    narrow = {
        bits: sum(operator.count for operator in ran if "8" in operator.precision) for bits, ran in operators.items()
    }
    assert narrow[8] >= 4 + narrow[32]  # matrices of a layer
    quantized = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "FullyConnectedQuantizedLegacy", "_int_mm_out"}
    matrices = {"MatMul", "FullyConnected"} | quantized
    assert any(operator.name in matrices and "8" in operator.precision for operator in operators[8])
    assert not any(operator.name in matrices and "8" in operator.precision for operator in operators[32])


def test_read_runtime_name_returns_the_runtime_of_an_artifact(
    runtime: Runtime, artifacts: Callable[..., Path], tmp_path: Path
) -> None:
    artifact = artifacts(runtime, **NARROW)
    folder = Path(shutil.copytree(artifact, tmp_path / "a"))
    assert read_runtime_name(folder) == short_name(runtime)
    assert load_runtime_of(folder) is runtime
    (folder / "recipe.json").write_text("{}")
    assert read_runtime_name(folder) == "onnxruntime"  # the runtime of artifacts from before there was another


def test_supported_raises_the_error_of_a_broken_technique(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug in the technique")

    monkeypatch.setattr(WeightBits, "apply", broken)
    runtime = RUNTIMES.load("onnxruntime")
    with pytest.raises(KeyError, match="a bug in the technique"):
        runtime.supported(lambda model, feeds: OnnxSession(model, 1).run(feeds))


def test_measure_activation_ranges_covers_the_inputs_of_matrices() -> None:
    rows = [{"x": np.array([[1.0, -2.0]], np.float32)}, {"x": np.array([[0.5, 3.0]], np.float32)}]
    weight = onnx.numpy_helper.from_array(np.eye(2, 16, dtype=np.float32), "w")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Abs", ["x"], ["y"]), onnx.helper.make_node("MatMul", ["y", "w"], ["z"])],
        "small",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)],
        [weight],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    assert _matrices.measure_activation_ranges(model, rows) == {"y": 3.0}
    with pytest.raises(ValueError, match="need at least one row"):
        _matrices.measure_activation_ranges(model, [])


def test_cuda_session_does_not_fall_back_to_the_cpu(tmp_path: Path) -> None:
    """onnxruntime itself would fall back with a warning."""
    cuda = RUNTIMES.load("onnxruntime_cuda")
    if cuda.available() is not None:
        pytest.skip("this machine has a GPU")
    folder = deployed(tiny_candidate(depth=1), RUNTIMES.load("onnxruntime"), tmp_path / "a")
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(AutocompressError, match="would run on the CPU; install onnxruntime-gpu"),
    ):
        cuda.open_session(folder, 1)


@pytest.mark.parametrize("length", [1, 8, 9, 31, 32, 33, 64, 65, 100, 129, 512])
def test_padded_length_adds_little_padding(length: int) -> None:
    static = openvino_static
    padded = static.padded_length(length)
    assert length <= padded <= max(length + 7, 1.5 * length)
    feeds = static.pad_inputs(
        {"input_ids": np.ones((2, length), np.int64), "attention_mask": np.ones((2, length), np.int64)}
    )
    assert {value.shape for value in feeds.values()} == {(2, padded)}
    assert (feeds["attention_mask"].sum(axis=1) == length).all()
    assert len({static.padded_length(shorter) for shorter in range(1, 513)}) <= static.MOST_COMPILED


def test_static_session_does_not_pad_beyond_the_positions(artifacts: Callable[..., Path]) -> None:
    static = RUNTIMES.load("openvino_static")
    if static.available() is None:
        pytest.skip("openvino is not installed")
    feed = draw_inputs(1, POSITIONS + 1)  # the table has two positions more
    assert openvino_static.padded_length(POSITIONS + 1) > POSITIONS + 2
    logits = static.open_session(artifacts(static, **SMALLER), 1).run(feed)
    model = tiny_candidate(**SMALLER).model
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
    np.testing.assert_allclose(logits, expected, atol=ROUNDING["openvino_static"])


def test_openvino_loads_no_telemetry() -> None:
    """Its telemetry package would report every import."""
    if RUNTIMES.load("openvino").available() is None:
        pytest.skip("openvino is not installed")
    code = (
        "import sys; from autocompress.runtimes import openvino; openvino.supported()"
        "; assert 'openvino' in sys.modules; assert not any('openvino_telemetry' in name and module"
        " for name, module in sys.modules.items())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER, reason="no C++ compiler is installed")
def test_torch_package_names_no_local_folder(artifacts: Callable[..., Path]) -> None:
    artifact = artifacts(RUNTIMES.load("torch"), **NARROW)
    content = (artifact / "model.pt2").read_bytes()
    for folder in (
        Path(torch.__file__).parents[1],
        Path(__file__).parents[1],
        Path(sys.prefix),
        Path.home(),
        Path(tempfile.gettempdir()),
    ):
        assert f"{folder}/".encode() not in content, folder


def test_prepare_rejects_torch_on_an_agent(tmp_path: Path) -> None:
    device = {"runtime": "torch", "url": "http://pi:7311"}
    with pytest.raises(UsageError, match=r"device: the runtime torch runs on this machine only"):
        prepare(read_plan(tiny_study(tmp_path, device=device)), offline=True)


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER, reason="no C++ compiler is installed")
def test_search_makes_an_artifact_for_each_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if RUNTIMES.load("openvino").available() is None:
        pytest.skip("openvino is not installed")
    runtimes = {"plain": "onnxruntime", "vino": "openvino", "sized": "openvino_static", "compiled": "torch"}
    devices = {name: {"runtime": runtime, "tokens": 8} for name, runtime in runtimes.items()}
    space = {"depth": 1, "weight_bits": 8, "embedding_bits": [8]}
    file = tiny_study(tmp_path, space=space, budget={"trials": 1}, device={}, devices=devices)
    plan = read_plan(file)
    run_search(plan, display=SilentDisplay(), offline=True)
    store, views = Store(plan.artifacts.path), [read_study(plan.storage, plan.study, name) for name in devices]
    for trial in (0, 1):
        artifacts = [view.row(trial).sha256 for view in views]
        assert [read_runtime_name(store.artifact(sha256 or "")) for sha256 in artifacts] == list(runtimes.values())
    for view in views:
        assert all(row.quality is not None and row.latency_ms for row in view.rows)
        assert all(row.test_quality is not None for row in view.front)
    trial = views[1].front[0].trial
    for device, runtime in runtimes.items():
        to = tmp_path / device
        command = ["export", str(file), "--device", device, "--trial", str(trial), "--to", str(to)]
        assert main(command) == 0
        assert main(["verify", str(to)]) == 0
        capsys.readouterr()
        assert main(["measure", str(to), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["conditions"]["runtime"] == runtime
        card = (to / "README.md").read_text()
        assert f"import {runtime.partition('_')[0]}" in card
        code = card.split("```python\n")[1].split("```")[0]
        subprocess.run([sys.executable, "-c", code], check=True, cwd=to, capture_output=True)
    capsys.readouterr()
    assert main(["pick", str(file), "--device", "vino", "--max-drop", "1"]) == 0
    assert "--device vino --to" in capsys.readouterr().out
    assert main(["clean", str(file), "--yes"]) == 0
    assert main(["export", str(file), "--device", "vino", "--trial", str(trial), "--to", str(tmp_path / "again")]) == 0

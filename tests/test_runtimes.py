"""One contract for every way to run an artifact."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from autocompress import benchmarking
from autocompress.actions.model_card import OPENING
from autocompress.config import read_plan
from autocompress.core import registry
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.recipe import AFTER_RECOVERY, NEUTRAL
from autocompress.core.stage import Stage
from autocompress.deployment.deploy import deploy, export_program
from autocompress.interfaces.cli import main
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.models.slicing import Candidate
from autocompress.runtimes import name_of, runtime_of
from autocompress.search.supervisor import prepare, run_search
from autocompress.storage.artifact_store import Store
from autocompress.study import read_study
from autocompress.techniques.quantization import weight_bits
from tests.models import tiny_batch, tiny_candidate
from tests.tiny import POSITIONS, tiny_study, tiny_tokenizer

ROUNDING = {
    "onnxruntime": 1e-4,
    "onnxruntime_cuda": 5e-3,
    "openvino": 0.05,
    "openvino_static": 0.05,
    "torch": 1e-4,
    "torch_cuda": 5e-3,
}  # of logits that differ by about 1; OpenVINO computes in bf16 where it can
SMALLER = {"depth": 2, "head_sparsity": 0.5, "ffn_sparsity": 0.5}
NARROW = {"depth": 1, "weight_bits": 8, "embedding_bits": 8}
NO_COMPILER = shutil.which(os.environ.get("CXX", "g++")) is None  # which PyTorch's packages are made with


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name == "torch" else ())  # every package is compiled
        for name in registry.names("runtimes")
    ]
)
def runtime(request: pytest.FixtureRequest) -> ModuleType:
    """Each that can run here."""
    module = registry.load("runtimes", request.param)
    if module.available() is None:
        pytest.skip(f"{request.param} is not installed here, or has no device")
    if module.TARGET_FORMAT.program and NO_COMPILER:
        pytest.skip(f"{request.param} compiles its packages, and there is no C++ compiler here")
    return module


def short_name(runtime: ModuleType) -> str:
    return runtime.__name__.rpartition(".")[2]


def inputs(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch for a tiny BERT, some of it padding."""
    return {name: tensor.numpy() for name, tensor in tiny_batch("bert", rows, length, seed=seed).items()}


@pytest.fixture
def artifacts(together: Store) -> Callable[..., Path]:
    """The artifact of a tiny candidate for a runtime, made once: some are compiled for half a minute."""

    def artifact(runtime: ModuleType, **decisions: Any) -> Path:
        def build(folder: Path) -> None:
            deployed(tiny_candidate(**decisions), runtime, folder / "a")

        return (
            together.stage(Stage("deployed", 1, {"runtime": short_name(runtime), "decisions": decisions}), build) / "a"
        )

    return artifact


def logits(
    runtime: ModuleType, artifacts: Callable[..., Path], feed: dict[str, np.ndarray], **decisions: Any
) -> np.ndarray:
    """Of a tiny candidate in a runtime; of a program without its being compiled, which takes half a minute."""
    if not runtime.TARGET_FORMAT.program:
        found: np.ndarray = runtime.open_session(artifacts(runtime, **decisions), 1).run(feed)
        return found
    candidate = tiny_candidate(**decisions)
    program = export_program(candidate, False)
    for decision in AFTER_RECOVERY:
        if (value := candidate.recipe.as_dict()[decision]) != NEUTRAL[decision]:
            registry.load("techniques", decision).apply_program(program, value)
    return program.run(*(torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))).numpy()


def deployed(candidate: Candidate, runtime: ModuleType, folder: Path) -> Path:
    """The candidate's artifact for a runtime."""
    folder.mkdir(parents=True)
    rows = [inputs(4, 20, seed) for seed in range(8)]
    deploy(candidate, tiny_tokenizer("bert"), False, short_name(runtime), folder, lambda: rows)
    return folder


def test_a_runtime_gives_the_logits_of_torch_at_every_shape(
    runtime: ModuleType, artifacts: Callable[..., Path]
) -> None:
    candidate = tiny_candidate(**SMALLER)
    session = runtime.open_session(artifacts(runtime, **SMALLER), 1)
    for rows, length in ((1, 5), (3, 17), (1, 9), (5, 40)):
        feed = inputs(rows, length)
        with torch.no_grad():
            expected = candidate.model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
        np.testing.assert_allclose(session.run(feed), expected, atol=ROUNDING[short_name(runtime)])


@pytest.mark.parametrize(("attention", "window"), [("local", 4), ("linear", None)])
def test_what_a_runtime_says_of_attentions_holds(
    runtime: ModuleType, attention: str, window: int | None, artifacts: Callable[..., Path]
) -> None:
    if attention not in runtime.supported()["attention"]:
        pytest.skip(f"{short_name(runtime)} says that it does not run {attention} attention")
    decisions = {"attention": attention, "attention_window": window}
    candidate = tiny_candidate(**decisions)
    feed = inputs(2, 9)
    with torch.no_grad():
        expected = candidate.model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
    found = logits(runtime, artifacts, feed, **decisions)
    np.testing.assert_allclose(found, expected, atol=ROUNDING[short_name(runtime)])


@pytest.mark.parametrize(
    ("decision", "bits", "off"),
    [("weight_bits", bits, off) for bits, off in {16: 0.05, 8: 0.2, 4: 1.0, 2: 4.0}.items()]
    + [("embedding_bits", bits, off) for bits, off in {8: 0.1, 4: 1.0}.items()],
)
def test_what_a_runtime_says_of_bits_holds(
    runtime: ModuleType, decision: str, bits: int, off: float, artifacts: Callable[..., Path]
) -> None:
    if bits not in runtime.supported()[decision]:
        pytest.skip(f"{short_name(runtime)} has no kernels for {decision} {bits}")
    exact, rough = (logits(runtime, artifacts, inputs(4, 20), **told) for told in ({}, {decision: bits}))
    assert 0 < np.abs(rough - exact).max() < off
    if not runtime.TARGET_FORMAT.program:  # of so small a program most is code
        folders = artifacts(runtime), artifacts(runtime, **{decision: bits})
        sizes = [benchmarking.size_mb(runtime, folder) for folder in folders]
        assert sizes[1] < 0.95 * sizes[0]


def test_an_audit_tells_what_ran_in_which_precision(runtime: ModuleType, artifacts: Callable[..., Path]) -> None:
    found = {}
    for bits, decisions in ((32, SMALLER), (8, NARROW)):
        found[bits] = runtime.audit(artifacts(runtime, **decisions), inputs(1, 9), 1)
        assert sum(one.share for one in found[bits]) == pytest.approx(1, abs=0.01)
        assert all(one.count >= 1 for one in found[bits])
    narrow = {bits: sum(one.count for one in ran if "8" in one.precision) for bits, ran in found.items()}
    assert narrow[8] >= 4 + narrow[32]  # matrices of a layer
    quantized = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "FullyConnectedQuantizedLegacy", "_int_mm_out"}
    matrices = {"MatMul", "FullyConnected"} | quantized
    assert any(one.name in matrices and "8" in one.precision for one in found[8])
    assert not any(one.name in matrices and "8" in one.precision for one in found[32])


def test_an_artifact_says_which_runtime_it_is_for(
    runtime: ModuleType, artifacts: Callable[..., Path], tmp_path: Path
) -> None:
    made = artifacts(runtime, **NARROW)
    folder = Path(shutil.copytree(made, tmp_path / "a"))
    assert name_of(folder) == short_name(runtime)
    assert runtime_of(folder) is runtime
    (folder / "recipe.json").write_text("{}")
    assert name_of(folder) == "onnxruntime"  # of those that were made before there was another


def test_a_card_says_how_every_runtime_opens_a_model() -> None:
    assert set(OPENING) == set(registry.names("runtimes"))


def test_a_technique_that_breaks_is_not_taken_for_one_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(weight_bits, "apply", broken)
    runtime = registry.load("runtimes", "onnxruntime")
    with pytest.raises(KeyError, match="a mistake of ours"):
        runtime.supported(lambda model, feeds: runtime.OnnxSession(model, 1).run(feeds))


def test_ranges_are_of_what_the_matrices_multiply() -> None:
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
    assert weight_bits.activation_ranges(model, rows) == {"y": 3.0}
    with pytest.raises(ValueError, match="some rows are needed"):
        weight_bits.activation_ranges(model, [])


def test_a_session_on_the_gpu_does_not_run_on_the_cpu_instead(tmp_path: Path) -> None:
    """onnxruntime itself would, with a warning."""
    cuda = registry.load("runtimes", "onnxruntime_cuda")
    if cuda.available() is not None:
        pytest.skip("there is a GPU here")
    folder = deployed(tiny_candidate(depth=1), registry.load("runtimes", "onnxruntime"), tmp_path / "a")
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(AutocompressError, match="would run on the CPU; install onnxruntime-gpu"),
    ):
        cuda.open_session(folder, 1)


@pytest.mark.parametrize("length", [1, 8, 9, 31, 32, 33, 64, 65, 100, 129, 512])
def test_static_sizes_hold_a_text_with_little_padding(length: int) -> None:
    static = registry.load("runtimes", "openvino_static")
    size = static.size_of(length)
    assert length <= size <= max(length + 7, 1.5 * length)
    wide = static.padded(
        {"input_ids": np.ones((2, length), np.int64), "attention_mask": np.ones((2, length), np.int64)}
    )
    assert {value.shape for value in wide.values()} == {(2, size)}
    assert (wide["attention_mask"].sum(axis=1) == length).all()
    assert len({static.size_of(shorter) for shorter in range(1, 513)}) <= static.KEPT


def test_a_text_is_not_padded_beyond_the_positions(artifacts: Callable[..., Path]) -> None:
    static = registry.load("runtimes", "openvino_static")
    if static.available() is None:
        pytest.skip("openvino is not installed here")
    feed = inputs(1, POSITIONS + 1)  # of the two more that the table holds
    assert static.size_of(POSITIONS + 1) > POSITIONS + 2
    found = static.open_session(artifacts(static, **SMALLER), 1).run(feed)
    model = tiny_candidate(**SMALLER).model
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=ROUNDING["openvino_static"])


def test_openvino_tells_nobody() -> None:
    """It comes with a package that tells its makers of every import; that one must not be loaded."""
    if registry.load("runtimes", "openvino").available() is None:
        pytest.skip("openvino is not installed here")
    code = (
        "import sys; from autocompress.runtimes import openvino; openvino.supported()"
        "; assert 'openvino' in sys.modules; assert not any('openvino_telemetry' in name and module"
        " for name, module in sys.modules.items())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER, reason="there is no C++ compiler here")
def test_a_package_for_torch_names_no_folder_of_this_machine(artifacts: Callable[..., Path]) -> None:
    made = artifacts(registry.load("runtimes", "torch"), **NARROW)
    content = (made / "model.pt2").read_bytes()
    for word in (
        Path(torch.__file__).parents[1],
        Path(__file__).parents[1],
        Path(sys.prefix),
        Path.home(),
        Path(tempfile.gettempdir()),
    ):
        assert f"{word}/".encode() not in content, word


def test_torch_runs_here_only(tmp_path: Path) -> None:
    device = {"runtime": "torch", "url": "http://pi:7311"}
    with pytest.raises(UsageError, match=r"device: the runtime torch runs on this machine only"):
        prepare(read_plan(tiny_study(tmp_path, device=device)), offline=True)


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER, reason="there is no C++ compiler here")
def test_one_candidate_has_an_artifact_for_each_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if registry.load("runtimes", "openvino").available() is None:
        pytest.skip("openvino is not installed here")
    runtimes = {"plain": "onnxruntime", "vino": "openvino", "sized": "openvino_static", "compiled": "torch"}
    devices = {name: {"runtime": runtime, "tokens": 8} for name, runtime in runtimes.items()}
    space = {"depth": 1, "weight_bits": 8, "embedding_bits": [8]}
    file = tiny_study(tmp_path, space=space, budget={"trials": 1}, device={}, devices=devices)
    plan = read_plan(file)
    run_search(plan, display=SilentDisplay(), offline=True)
    assert plan.artifacts.path is not None
    store, views = Store(plan.artifacts.path), [read_study(plan.storage, plan.study, name) for name in devices]
    for trial in (0, 1):
        artifacts = [view.row(trial).sha256 for view in views]
        assert [name_of(store.artifact(sha256 or "")) for sha256 in artifacts] == list(runtimes.values())
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

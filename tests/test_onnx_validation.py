"""Which models the agent accepts, by their bytes alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import helper

from autocompress.benchmarking.agent.errors import RequestRejected
from autocompress.benchmarking.agent.onnx_validation import check_model
from autocompress.core.errors import AutocompressError
from tests.devices import HOSTILE, RunningAgent, hostile, start_agent, write_model

NO_MODELS = [
    b"",
    b"\x1f\x8b\x08" + bytes(100),  # gzip
    b"PK\x03\x04" * 50,  # zip
    b"\x3a\xff\xff\xff\xff\x7f",  # a graph of 34 GB
    b"\x3a\x80" * 99,
]


@pytest.fixture(scope="module")
def running_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    with start_agent(tmp_path_factory.mktemp("device")) as running:
        yield running


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_models_are_rejected(running_agent: RunningAgent, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(hostile(kind, tmp_path).SerializeToString())
    with pytest.raises(RequestRejected, match=HOSTILE[kind]):
        check_model(file)
    with pytest.raises(AutocompressError, match=HOSTILE[kind]):
        running_agent.connect().send(file)


@pytest.mark.parametrize("data", NO_MODELS)
def test_files_that_are_no_models_are_rejected(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(RequestRejected):
        check_model(tmp_path / "x")


def test_a_model_that_is_cut_off_anywhere_is_rejected(tmp_path: Path) -> None:
    data = write_model(tmp_path).read_bytes()
    for end in range(1, len(data), 97):
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(RequestRejected):
            check_model(tmp_path / "cut")


def test_too_many_operators_are_counted_in_the_reason(tmp_path: Path) -> None:
    file = write_model(tmp_path)
    model = onnx.load_from_string(file.read_bytes())
    model.graph.node.extend([helper.make_node("Identity", ["x"], ["y"])] * 20_000)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(RequestRejected, match=r"the model has 20,006 operators; at most 20,000 are allowed"):
        check_model(file)

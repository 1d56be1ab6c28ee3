"""Backends: this machine and a device with an agent give the same results; how inputs travel to a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autocompress import benchmarking
from autocompress.benchmarking.agent.client import RemoteDevice
from autocompress.benchmarking.agent.packing import MAX_RUN_NUMBERS, MAX_RUN_ROWS, PackedFeeds, split_into_runs
from autocompress.benchmarking.backends import open_backend
from autocompress.benchmarking.backends.remote import RemoteBackend
from autocompress.config import Device
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.runtimes import RUNTIMES
from autocompress.runtimes.onnxruntime import OnnxSession
from tests.devices import TOKEN, RunningAgent, feeds, start_agent, write_model


@pytest.fixture(scope="module")
def running_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    with start_agent(tmp_path_factory.mktemp("device")) as running:
        yield running


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_TOKEN", TOKEN)


def test_local_and_remote_backend_support_the_same_values(running_agent: RunningAgent) -> None:
    local = open_backend(Device(), "device")
    remote = open_backend(Device(url=running_agent.url), "device")
    assert remote.supported() == local.supported()
    assert remote.cpu() == local.cpu()


def test_a_runtime_that_the_device_lacks_is_named(running_agent: RunningAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteDevice, "fingerprint", lambda self: {"runtimes": {"other": "1.0"}})
    with pytest.raises(UsageError, match="onnxruntime is not installed on the device; available: other"):
        open_backend(Device(url=running_agent.url), "device").supported()


def test_supported_omits_values_that_the_device_cannot_run() -> None:
    runtime = RUNTIMES.load("onnxruntime")

    def run_without_4_bits(model: bytes, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        if b"MatMulNBits" in model:
            raise AutocompressError("no kernel")
        return np.asarray(OnnxSession(model, 1).run(feed))

    assert runtime.supported(run_without_4_bits)["weight_bits"] == (32, 16, 8)

    def lose_device(model: bytes, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        raise DeviceLost("the device is lost")

    with pytest.raises(DeviceLost):
        runtime.supported(lose_device)


def test_remote_backend_holds_the_device_lock_only_on_this_machine(tmp_path: Path) -> None:
    assert RemoteBackend(Device(url="http://127.0.0.1:7311"), "device", tmp_path, 0, print).root == tmp_path
    assert RemoteBackend(Device(url="https://pi:7311"), "device", tmp_path, 0, print).root is None


def test_budget_and_fresh_reach_the_device(running_agent: RunningAgent, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    pairs = benchmarking.THOROUGH_TIMING.most + 1  # without patience all count, on a disturbed machine, too
    budget = replace(benchmarking.QUICK_TIMING, fewest=pairs, most=pairs, patience=0.0, seconds=60.0)
    timing = running_agent.connect().latency(model, None, feeds(1)[:1], 1, budget, fresh=False)
    assert timing.memory_mb is None and timing.start_ms is None
    assert timing.latency.cold_ms is None and timing.latency.throughput is None
    assert timing.latency.blocks == pairs


# ---- packing ---------------------------------------------------------------------------------------------------------


def test_packed_feeds_leave_out_the_padding() -> None:
    ids = np.array([[7, 8, 1], [9, 1, 1]])
    feed = {"input_ids": ids, "attention_mask": np.array([[1, 1, 0], [1, 0, 0]]), "token_type_ids": 0 * ids}
    packed = PackedFeeds.pack([feed])
    assert packed.fields == {"batch": 2, "lengths": (2, 1), "types": False, "padding": 1}
    assert np.frombuffer(packed.body, "<i4").tolist() == [7, 8, 9]
    with_types = PackedFeeds.pack([{**feed, "token_type_ids": np.array([[0, 1, 0], [0, 0, 0]])}])
    assert np.frombuffer(with_types.body, "<i4").tolist() == [7, 8, 9, 0, 1, 0]


def test_split_into_runs_limits_numbers_and_rows() -> None:
    long_rows = [{"input_ids": np.broadcast_to(np.int64(1), (1, MAX_RUN_NUMBERS // 3))} for _ in range(7)]
    parts = list(split_into_runs(long_rows))
    assert [start for start, _ in parts] == [0, 3, 6]
    assert sum(len(part) for _, part in parts) == len(long_rows)
    short_rows = [{"input_ids": np.broadcast_to(np.int64(1), (MAX_RUN_ROWS // 2, 1))} for _ in range(3)]
    assert [start for start, _ in split_into_runs(short_rows)] == [0, 2]

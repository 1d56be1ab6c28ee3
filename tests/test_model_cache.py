"""The models that a device holds: uploads in pieces, quota, eviction."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import httpx2
import pytest

from autocompress.benchmarking.agent.errors import OffsetMismatch, QuotaExceeded, RequestRejected
from autocompress.benchmarking.agent.model_cache import ModelCache
from tests.devices import TOKEN, start_agent, write_model


def test_an_interrupted_upload_is_continued(tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=7)
    data = model.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    headers = {"authorization": f"Bearer {TOKEN}", "upload-offset": "0", "upload-length": str(len(data))}
    with start_agent(tmp_path / "device") as running:
        url = f"{running.url}/v1/models/{sha256}"
        assert httpx2.patch(url, content=data[:1000], headers=headers).status_code == 204
        assert httpx2.head(url, headers=headers).headers["upload-offset"] == "1000"
        assert running.connect().send(model) == sha256
        assert httpx2.head(url, headers=headers).headers["upload-complete"] == "?1"


def test_a_complete_upload_is_checked_after_the_agent_died_before_the_check(tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=8)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    with start_agent(tmp_path / "device") as running:
        shutil.copy(model, tmp_path / "device" / "parts" / sha256)
        assert running.connect().send(model) == sha256
        assert (tmp_path / "device" / "models" / sha256 / "model.onnx").exists()


def test_bytes_with_another_hash_are_dropped(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 10_000, 1_000)
    with cache.reserve_upload("a" * 64):
        assert cache.append("a" * 64, 0, 4, b"abcd") == 4
        with pytest.raises(RequestRejected, match="do not have the model's sha256"):
            cache.complete("a" * 64)
    assert cache.count_bytes("a" * 64) == 0
    with cache.reserve_upload("b" * 64), pytest.raises(OffsetMismatch):
        cache.append("b" * 64, 2, 4, b"cd")


def test_a_full_disk_and_a_full_cache_are_reported(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 10_000, 10_000)
    (tmp_path / "parts" / ("c" * 64)).symlink_to("/dev/full")
    with cache.reserve_upload("c" * 64), pytest.raises(QuotaExceeded, match="disk is full"):
        cache.append("c" * 64, 0, 4, b"abcd")
    (tmp_path / "parts" / ("c" * 64)).unlink()
    model = write_model(tmp_path / "source").read_bytes()
    first, second = hashlib.sha256(model).hexdigest(), "d" * 64
    with cache.reserve_upload(first):
        cache.append(first, 0, len(model), model)
        cache.complete(first)
    with cache.use(first), cache.reserve_upload(second), pytest.raises(QuotaExceeded, match="in use"):
        cache.append(second, 0, 9_000, b"x")
    with cache.reserve_upload(second):
        cache.append(second, 0, 9_000, b"x")  # evicts the first model
    assert not cache.has_model(first)

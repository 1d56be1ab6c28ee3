"""A device with an agent: what it takes, what it refuses, and that nothing is lost when one side dies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from autocompress.benchmarking.agent.client import DeviceLost, RemoteDevice
from autocompress.benchmarking.agent.model_cache import ModelCache, OffsetMismatch, QuotaExceeded
from autocompress.benchmarking.agent.onnx_validation import RequestRejected, check_model
from autocompress.benchmarking.agent.run_queue import QueuedRun, RunQueue, _environment
from autocompress.benchmarking.agent.runner import RunRequest
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.runtimes import onnxruntime
from tests.devices import HOSTILE, ROWS, TOKEN, RunningTrial, agent, feeds, hostile, save, write_model

MODEL = "/v1/models/" + "a" * 64


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTrial]:
    with agent(tmp_path_factory.mktemp("device")) as running:
        yield running


def test_a_device_gives_the_logits_that_the_file_gives_here(there: RunningTrial, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    found = there.device().logits(model, feeds(2), threads=1)
    session = onnxruntime.open_session(tmp_path, 1)
    for row, logits in zip(ROWS, found, strict=True):
        alone = session.run({"input_ids": row[None], "attention_mask": np.ones_like(row[None])})
        np.testing.assert_allclose(logits, alone[0], atol=1e-5)


def test_a_device_measures_beside_a_reference_and_says_what_it_is(there: RunningTrial, tmp_path: Path) -> None:
    small, large = write_model(tmp_path / "small"), write_model(tmp_path / "large", rows=4096)
    timed = there.device().latency(small, large, feeds(1)[:1], threads=1)
    latency, memory, conditions = timed.latency, timed.memory_mb, timed.conditions
    assert latency.speedup_interval.low <= latency.speedup <= latency.speedup_interval.high
    assert latency.blocks >= 5
    assert memory is not None and memory > 0
    assert conditions["tokens"] == 3
    device = there.device().fingerprint()
    assert device["cpu"] == conditions["cpu"] and device["runtimes"]["onnxruntime"] == conditions["runtime_version"]
    assert socket.gethostname() not in str(device).replace(device["architecture"], "")


def test_measure_takes_a_device(there: RunningTrial, tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 64}')
    command = [sys.executable, "-m", "autocompress", "measure", str(tmp_path), "--device", there.url, "--json"]
    environment = {**os.environ, "AUTOCOMPRESS_TOKEN": TOKEN}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["latency_ms"] > 0
    bare = {name: value for name, value in os.environ.items() if name != "AUTOCOMPRESS_TOKEN"}
    told = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert told.returncode == 2 and "AUTOCOMPRESS_TOKEN is not set" in told.stderr


def test_the_agent_is_light(there: RunningTrial) -> None:
    maps = Path(f"/proc/{there.process.pid}/maps")
    if not maps.exists():
        pytest.skip("the system does not say what a process holds")
    there.device().fingerprint()
    held = maps.read_text()
    assert "libtorch" not in held and "transformers" not in held
    status = Path(f"/proc/{there.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 150_000  # kB


def test_many_hosts_wait_in_line_and_none_for_ever(there: RunningTrial, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    there.device().send(model)
    with ThreadPoolExecutor(8) as hosts:
        found = list(hosts.map(lambda _: there.device().logits(model, feeds(1), 1), range(8)))
    for logits in found:
        np.testing.assert_array_equal(logits, found[0])


# ---- who may ask -----------------------------------------------------------------------------------------------------


def test_a_wrong_token_opens_nothing_and_guessing_is_slowed_down(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        with pytest.raises(UsageError, match="the token is missing or wrong"):
            running.device("not the token").fingerprint()
        others = ({"x-forwarded-for": f"10.0.0.{number}"} for number in range(14))  # what anyone can claim
        answers = [httpx2.get(f"{running.url}/v1/device", headers=headers).status_code for headers in others]
        assert answers[0] == 401 and answers[-1] == 429
        assert set(answers) == {401, 429}


def test_too_many_calls_have_to_wait_and_get_through(tmp_path: Path) -> None:
    with agent(tmp_path) as running, running.device() as device:
        answers = (device._http.head(MODEL).status_code for _ in range(2000))
        assert next(status for status in answers if status != 200) == 429
        assert device.send(write_model(tmp_path / "fine"))


def test_a_run_knows_nothing_of_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_TOKEN", TOKEN)
    assert TOKEN not in _environment().values()


def test_over_tls_only_the_certificate_that_is_trusted_will_do(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = shutil.which("openssl") and subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    if not made or made.returncode:
        pytest.skip("openssl is not there to make a certificate")
    with agent(tmp_path / "device", "--certificate", str(certificate), "--key", str(key)) as running:
        assert running.url.startswith("https://")
        assert running.device(ca=certificate).fingerprint()["cores"] >= 1
        with RemoteDevice(running.url, TOKEN, patience=0.5) as stranger, pytest.raises(DeviceLost, match="certificate"):
            stranger.fingerprint()


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/v1/models/../../etc/passwd", {}, 404),
        ("HEAD", "/v1/models/..%2f..%2fetc%2fpasswd", {}, 404),
        ("HEAD", "/v1/models/" + "A" * 64, {}, 422),
        ("PATCH", MODEL, {"content": b"x"}, 422),  # no offset, no length
        ("PATCH", MODEL, {"content": b"x", "headers": {"upload-offset": "0", "upload-length": "9" * 12}}, 422),
        ("PATCH", MODEL, {"content": b"x", "headers": {"upload-offset": "5", "upload-length": "9"}}, 409),
        ("PATCH", MODEL, {"content": b"x", "headers": {"content-encoding": "gzip"}}, 415),
        ("PUT", "/v1/runs/" + "b" * 64, {"content": b"no json"}, 422),
        ("PUT", "/v1/runs/" + "b" * 64, {"content": b'{"kind": "shell"}'}, 422),
        ("PUT", "/v1/runs/short", {"content": b"{}"}, 422),
        ("GET", "/v1/runs/" + "c" * 64, {}, 404),
        ("DELETE", MODEL, {}, 405),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_reason(
    there: RunningTrial, method: str, path: str, options: dict[str, object], status: int
) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}  # type: ignore[dict-item]
    answer = httpx2.request(method, there.url + path, headers=headers, **options)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert "Traceback" not in answer.text and str(Path.home()) not in answer.text


def test_a_body_that_is_too_long_is_not_read(there: RunningTrial) -> None:
    host, port = there.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"PUT /v1/runs/{'d' * 64} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Length: {3 << 30}\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


# ---- what may run ----------------------------------------------------------------------------------------------------


NO_MODELS = [
    b"",
    b"\x1f\x8b\x08" + bytes(100),  # packed
    b"PK\x03\x04" * 50,
    b"\x3a\xff\xff\xff\xff\x7f",  # a graph of 34 GB
    b"\x3a\x80" * 99,
]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_models_are_refused(there: RunningTrial, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(hostile(kind, tmp_path).SerializeToString())
    with pytest.raises(RequestRejected, match=HOSTILE[kind]):
        check_model(file)
    with pytest.raises(AutocompressError, match=HOSTILE[kind]):
        there.device().send(file)


@pytest.mark.parametrize("data", NO_MODELS)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(RequestRejected):
        check_model(tmp_path / "x")


def test_cut_off_anywhere_a_model_is_refused_or_whole(tmp_path: Path) -> None:
    data = write_model(tmp_path).read_bytes()
    for end in range(1, len(data), 97):
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(RequestRejected):
            check_model(tmp_path / "cut")


def test_a_run_that_wants_too_much_ends_and_the_agent_goes_on(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 14]), "shape")
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["logits"])], "huge",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)], [shape],
    )  # fmt: skip
    with agent(tmp_path / "device") as running:
        device = running.device()
        with pytest.raises(AutocompressError, match="the device"):
            device.logits(save(graph, tmp_path / "huge"), feeds(1), 1)
        assert len(device.logits(write_model(tmp_path / "fine"), feeds(1), 1)) == len(ROWS)


# ---- nothing is lost -------------------------------------------------------------------------------------------------


def test_a_run_whose_model_made_room_for_others_is_asked_for_again(tmp_path: Path) -> None:
    async def gone() -> QueuedRun:
        line = RunQueue(ModelCache(tmp_path / "shelf", 10**9, 10**9), 10.0, 10**9)
        run = RunRequest(kind="logits", model="a" * 64, lengths=(3,))
        job = line.join("b" * 64, run, b"")
        server = asyncio.create_task(line.serve())
        await asyncio.wait_for(job.event.wait(), 10)
        server.cancel()
        assert job.name not in line.jobs
        return job

    assert asyncio.run(gone()).state == "gone"
    evicted: list[str] = []
    with agent(tmp_path / "device") as running:
        device, model = running.device(), write_model(tmp_path)
        send = device.send

        def send_and_lose(model: Path | bytes) -> str:
            """The first time, the model goes as soon as it was sent."""
            sha256 = send(model)
            if not evicted:
                shutil.rmtree(tmp_path / "device" / "models" / sha256)
                evicted.append(sha256)
            return sha256

        device.send = send_and_lose  # type: ignore[method-assign]
        assert len(device.logits(model, feeds(1), 1)) == len(ROWS)
    assert evicted


def test_an_upload_goes_on_where_it_broke_off(there: RunningTrial, tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=7)
    data = model.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    headers = {"authorization": f"Bearer {TOKEN}", "upload-offset": "0", "upload-length": str(len(data))}
    url = f"{there.url}/v1/models/{sha256}"
    assert httpx2.patch(url, content=data[:1000], headers=headers).status_code == 204
    assert httpx2.head(url, headers=headers).headers["upload-offset"] == "1000"
    assert there.device().send(model) == sha256
    assert httpx2.head(url, headers=headers).headers["upload-complete"] == "?1"


def test_an_upload_whose_agent_died_before_the_check_is_checked(tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=8)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    with agent(tmp_path / "device") as running:
        shutil.copy(model, tmp_path / "device" / "parts" / sha256)
        assert running.device().send(model) == sha256
        assert (tmp_path / "device" / "models" / sha256 / "model.onnx").exists()


def test_other_bytes_than_the_hash_says_are_thrown_away(tmp_path: Path) -> None:
    shelf = ModelCache(tmp_path, 10_000, 1_000)
    with shelf.taking("a" * 64):
        assert shelf.append("a" * 64, 0, 4, b"abcd") == 4
        with pytest.raises(RequestRejected, match="not those of the model's hash"):
            shelf.finish("a" * 64)
    assert shelf.offset("a" * 64) == 0
    with shelf.taking("b" * 64), pytest.raises(OffsetMismatch):
        shelf.append("b" * 64, 2, 4, b"cd")


def test_a_full_disk_and_a_full_shelf_are_said(tmp_path: Path) -> None:
    shelf = ModelCache(tmp_path, 10_000, 10_000)
    (tmp_path / "parts" / ("c" * 64)).symlink_to("/dev/full")
    with shelf.taking("c" * 64), pytest.raises(QuotaExceeded, match="disk is full"):
        shelf.append("c" * 64, 0, 4, b"abcd")
    (tmp_path / "parts" / ("c" * 64)).unlink()
    model = write_model(tmp_path / "source").read_bytes()
    first, second = hashlib.sha256(model).hexdigest(), "d" * 64
    with shelf.taking(first):
        shelf.append(first, 0, len(model), model)
        shelf.finish(first)
    with shelf.using(first), shelf.taking(second), pytest.raises(QuotaExceeded, match="in use"):
        shelf.append(second, 0, 9_000, b"x")
    with shelf.taking(second):
        shelf.append(second, 0, 9_000, b"x")  # makes room for it
    assert not shelf.holds(first)


def test_a_killed_agent_that_comes_back_finishes_what_was_asked(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    model = write_model(tmp_path / "model")
    url = f"http://127.0.0.1:{port}"
    with ThreadPoolExecutor(1) as host, RemoteDevice(url, TOKEN, patience=30.0) as device:
        with agent(tmp_path / "device", port=port) as first:
            device.send(model)
            asked = host.submit(device.latency, model, None, feeds(1)[:1], 1)
            time.sleep(0.3)
            os.killpg(first.process.pid, signal.SIGKILL)
        with agent(tmp_path / "device", port=port):
            latency = asked.result(timeout=60).latency
    assert latency.p50_ms > 0
    with RemoteDevice(url, TOKEN, patience=0.5) as gone, pytest.raises(DeviceLost, match="is its agent up"):
        gone.fingerprint()

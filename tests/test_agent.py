"""The agent of a device: its answers, whom it refuses, and that nothing is lost when one side dies."""

from __future__ import annotations

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
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.runtimes import onnxruntime
from tests.devices import ROWS, TOKEN, RunningAgent, feeds, save, start_agent, write_model

MODEL = "/v1/models/" + "a" * 64


@pytest.fixture(scope="module")
def running_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    with start_agent(tmp_path_factory.mktemp("device")) as running:
        yield running


def test_logits_of_a_device_are_those_of_the_runtime(running_agent: RunningAgent, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    remote = running_agent.connect().logits(model, feeds(2), threads=1)
    session = onnxruntime.open_session(tmp_path, 1)
    for row, logits in zip(ROWS, remote, strict=True):
        local = session.run({"input_ids": row[None], "attention_mask": np.ones_like(row[None])})
        np.testing.assert_allclose(logits, local[0], atol=1e-5)


def test_latency_is_taken_beside_a_reference_and_names_the_device(running_agent: RunningAgent, tmp_path: Path) -> None:
    small, large = write_model(tmp_path / "small"), write_model(tmp_path / "large", rows=4096)
    timing = running_agent.connect().latency(small, large, feeds(1)[:1], threads=1)
    latency, memory, conditions = timing.latency, timing.memory_mb, timing.conditions
    assert latency.speedup_interval.low <= latency.speedup <= latency.speedup_interval.high
    assert latency.blocks >= 5
    assert memory is not None and memory > 0
    assert conditions["tokens"] == 3
    device = running_agent.connect().fingerprint()
    assert device["cpu"] == conditions["cpu"] and device["runtimes"]["onnxruntime"] == conditions["runtime_version"]
    assert socket.gethostname() not in str(device).replace(device["architecture"], "")


def test_measure_command_takes_a_device(running_agent: RunningAgent, tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 64}')
    command = [sys.executable, "-m", "autocompress", "measure", str(tmp_path), "--device", running_agent.url, "--json"]
    environment = {**os.environ, "AUTOCOMPRESS_TOKEN": TOKEN}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["latency_ms"] > 0
    bare = {name: value for name, value in os.environ.items() if name != "AUTOCOMPRESS_TOKEN"}
    refused = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "AUTOCOMPRESS_TOKEN is not set" in refused.stderr


def test_agent_process_is_small(running_agent: RunningAgent) -> None:
    maps = Path(f"/proc/{running_agent.process.pid}/maps")
    if not maps.exists():
        pytest.skip("the system does not list the libraries of a process")
    running_agent.connect().fingerprint()
    libraries = maps.read_text()
    assert "libtorch" not in libraries and "transformers" not in libraries
    status = Path(f"/proc/{running_agent.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 150_000  # kB


def test_runs_of_many_hosts_are_queued(running_agent: RunningAgent, tmp_path: Path) -> None:
    model = write_model(tmp_path)
    running_agent.connect().send(model)
    with ThreadPoolExecutor(8) as hosts:
        results = list(hosts.map(lambda _: running_agent.connect().logits(model, feeds(1), 1), range(8)))
    for logits in results:
        np.testing.assert_array_equal(logits, results[0])


# ---- refused requests ------------------------------------------------------------------------------------------------


def test_wrong_tokens_are_refused_and_guessing_is_slowed_down(tmp_path: Path) -> None:
    with start_agent(tmp_path) as running:
        with pytest.raises(UsageError, match="the token is missing or wrong"):
            running.connect("not the token").fingerprint()
        forged = ({"x-forwarded-for": f"10.0.0.{number}"} for number in range(14))  # any client can claim an address
        answers = [httpx2.get(f"{running.url}/v1/device", headers=headers).status_code for headers in forged]
        assert answers[0] == 401 and answers[-1] == 429
        assert set(answers) == {401, 429}


def test_too_many_calls_are_delayed_and_succeed(tmp_path: Path) -> None:
    with start_agent(tmp_path) as running, running.connect() as device:
        answers = (device._http.head(MODEL).status_code for _ in range(2000))
        assert next(status for status in answers if status != 200) == 429
        assert device.send(write_model(tmp_path / "fine"))


def test_tls_needs_the_trusted_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = shutil.which("openssl") and subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    if not made or made.returncode:
        pytest.skip("openssl is not installed, which makes the certificate")
    with start_agent(tmp_path / "device", "--certificate", str(certificate), "--key", str(key)) as running:
        assert running.url.startswith("https://")
        assert running.connect(ca=certificate).fingerprint()["cores"] >= 1
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
def test_invalid_requests_are_refused_with_a_reason(
    running_agent: RunningAgent, method: str, path: str, options: dict[str, object], status: int
) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}  # type: ignore[dict-item]
    answer = httpx2.request(method, running_agent.url + path, headers=headers, **options)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert "Traceback" not in answer.text and str(Path.home()) not in answer.text


def test_a_body_that_is_too_long_is_not_read(running_agent: RunningAgent) -> None:
    host, port = running_agent.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"PUT /v1/runs/{'d' * 64} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Length: {3 << 30}\r\n\r\n".encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


# ---- nothing is lost -------------------------------------------------------------------------------------------------


def test_agent_survives_a_run_that_needs_too_much_memory(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 14]), "shape")
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["logits"])], "huge",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)], [shape],
    )  # fmt: skip
    with start_agent(tmp_path / "device") as running:
        device = running.connect()
        with pytest.raises(AutocompressError, match="the device"):
            device.logits(save(graph, tmp_path / "huge"), feeds(1), 1)
        assert len(device.logits(write_model(tmp_path / "fine"), feeds(1), 1)) == len(ROWS)


def test_a_run_whose_model_was_evicted_is_submitted_again(tmp_path: Path) -> None:
    evicted: list[str] = []
    with start_agent(tmp_path / "device") as running:
        device, model = running.connect(), write_model(tmp_path)
        send = device.send

        def send_and_evict(model: Path | bytes) -> str:
            """Evict the model as soon as it was sent for the first time."""
            sha256 = send(model)
            if not evicted:
                shutil.rmtree(tmp_path / "device" / "models" / sha256)
                evicted.append(sha256)
            return sha256

        device.send = send_and_evict  # type: ignore[method-assign]
        assert len(device.logits(model, feeds(1), 1)) == len(ROWS)
    assert evicted


def test_a_killed_agent_finishes_the_run_after_its_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    model = write_model(tmp_path / "model")
    url = f"http://127.0.0.1:{port}"
    with ThreadPoolExecutor(1) as host, RemoteDevice(url, TOKEN, patience=30.0) as device:
        with start_agent(tmp_path / "device", port=port) as first:
            device.send(model)
            future = host.submit(device.latency, model, None, feeds(1)[:1], 1)
            time.sleep(0.3)
            os.killpg(first.process.pid, signal.SIGKILL)
        with start_agent(tmp_path / "device", port=port):
            latency = future.result(timeout=60).latency
    assert latency.p50_ms > 0
    with RemoteDevice(url, TOKEN, patience=0.5) as lost, pytest.raises(DeviceLost, match="is its agent running"):
        lost.fingerprint()

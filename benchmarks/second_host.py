"""An agent on a second host, and the faults on the way to it. `sudo python -m benchmarks.second_host`, Linux, as root.

The second host is a network namespace (`second_host_network`). Each line of the table is one scene with its result; the exit
code is 1 if a scene does not end as required.
"""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.storage.checksums import file_sha256
from benchmarks.second_host_models import LARGE_BYTES, protobuf_field, write_large_model
from benchmarks.second_host_network import URL, SecondHost, bytes_sent, open_namespace, set_link
from tests.devices import HOSTILE, ROWS, feeds, hostile, write_model

CLIENTS = 32
MAX_AGENT_MB = 150


def main() -> None:
    """Run every scene, and print a table."""
    lines: list[tuple[str, str, bool]] = []
    with tempfile.TemporaryDirectory() as folder, open_namespace():
        host = SecondHost(Path(folder))
        for title, scene in SCENES.items():
            print(f"… {title}", file=sys.stderr, flush=True)
            start = time.monotonic()
            try:
                result, ok = scene(host)
            except Exception as error:  # record the failure, and continue with the next scene
                result, ok = f"{type(error).__name__}: {error}", False
            finally:
                host.stop()
            lines.append((title, f"{result} ({time.monotonic() - start:.0f} s)", ok))
    print("\n| scene | result | |\n|---|---|---|")
    for title, result, ok in lines:
        print(f"| {title} | {result} | {'as required' if ok else '**wrong**'} |")
    sys.exit(0 if all(ok for *_, ok in lines) else 1)


def compare_logits(host: SecondHost) -> tuple[str, bool]:
    """Check that a model gives the same logits on both hosts."""
    from autocompress.runtimes import onnxruntime

    host.start()
    model = write_model(host.folder / "small")
    with host.connect() as device:
        remote = device.logits(model, feeds(1), 1)
        timed = device.latency(model, None, feeds(1)[:1], 1)
        latency, memory = timed.latency, timed.memory_mb
    session = onnxruntime.open_session(model.parent, 1)
    local = np.concatenate([session.run(feed) for feed in feeds(1)])
    difference = float(np.abs(remote - local).max())
    return f"logits differ by {difference:.1g}; {1000 * latency.p50_ms:.0f} µs, {memory:.1f} MB", difference < 1e-5


def inspect_agent(host: SecondHost) -> tuple[str, bool]:
    """Check that the agent's process loads no heavy package, and measure its memory."""
    host.start()
    model = write_model(host.folder / "small")
    with host.connect() as device:
        device.logits(model, feeds(1), 1)
    loaded = [name for name in ("libtorch", "transformers", "onnxruntime") if name in host.memory_map()]
    return f"peak {host.peak_mb():.0f} MB; loaded: {', '.join(loaded) or 'none of torch, transformers, runtime'}", (
        not loaded and host.peak_mb() < MAX_AGENT_MB
    )


def send_wrong_token(host: SecondHost) -> tuple[str, bool]:
    """Check that the agent refuses a client without its token."""
    host.start()
    with host.connect("not the token at all") as device:
        try:
            device.fingerprint()
        except UsageError as error:
            return str(error).removeprefix(f"the device {URL}: "), True
    return "the token was accepted", False


def upload_large_model(host: SecondHost) -> tuple[str, bool]:
    """Send 2 GB while the agent is killed and the link goes down."""
    host.start("--run-gb", "10")
    model = write_large_model(host.folder / "large")
    parts = host.agent_folder / "parts"

    def disturb() -> None:
        wait_for(lambda: folder_bytes(parts) > 0.3 * LARGE_BYTES)
        host.kill()
        time.sleep(2)
        host.start("--run-gb", "10")
        wait_for(lambda: folder_bytes(parts) > 0.6 * LARGE_BYTES)
        set_link("down")
        time.sleep(5)
        set_link("up")

    thread = threading.Thread(target=disturb)
    thread.start()
    before = bytes_sent()
    with host.connect() as device:
        sha256 = device.send(model)
        thread.join()
        sent = bytes_sent() - before
        logits = device.logits(model, feeds(1)[:1], 1)
    received = host.agent_folder / "models" / sha256 / "model.onnx"
    intact = file_sha256(received) == sha256 and logits.shape == (1, 3)
    sizes = f"{sent / 1e9:.2f} GB sent over the link for {model.stat().st_size / 1e9:.2f}"
    result = f"{sizes}; agent's peak {host.peak_mb():.0f} MB"
    model.unlink()
    return result, intact and sent < 1.1 * LARGE_BYTES and host.peak_mb() < MAX_AGENT_MB


def exceed_quota(host: SecondHost) -> tuple[str, bool]:
    """Check that the agent refuses a model that is larger than its quota."""
    host.start("--max-gb", "0.1")
    model = write_model(host.folder / "wide", rows=2_000_000)
    return try_upload(host, model, "quota|room|at most")


def kill_agent_during_measurement(host: SecondHost) -> tuple[str, bool]:
    """Kill and restart the agent during a measurement."""

    def kill() -> None:
        host.kill()
        time.sleep(2)
        host.start()

    return disturb_measurement(host, kill)


def cut_link_during_measurement(host: SecondHost) -> tuple[str, bool]:
    """Set the link down for 5 s during a measurement."""

    def cut() -> None:
        set_link("down")
        time.sleep(5)
        set_link("up")

    return disturb_measurement(host, cut)


def kill_client_during_measurement(host: SecondHost) -> tuple[str, bool]:
    """Kill the client during a measurement, and time the next client."""
    host.start()
    model = write_model(host.folder / "slow", rows=200_000)
    code = (
        "import sys; from pathlib import Path; from autocompress.benchmarking.agent.client import RemoteDevice; "
        "from tests.devices import TOKEN, feeds; "
        "device = RemoteDevice(sys.argv[1], TOKEN); "
        "[device.latency(Path(sys.argv[2]), None, feeds(1)[:1], 1) for _ in range(9)]"
    )
    client = subprocess.Popen([sys.executable, "-c", code, URL, str(model)])
    time.sleep(4)
    client.send_signal(signal.SIGKILL)
    client.wait()
    with host.connect() as device:
        start = time.monotonic()
        device.logits(model, feeds(1), 1)
    return f"the next client was served after {time.monotonic() - start:.1f} s", True


def fill_disk(host: SecondHost) -> tuple[str, bool]:
    """Send a model that does not fit on the device's disk; a small one still runs."""
    host.agent_folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", host.agent_folder], check=True)
    try:
        host.start()
        large, small = write_model(host.folder / "large", rows=200_000), write_model(host.folder / "small")
        reason, is_refused = try_upload(host, large, "disk is full|no room", patience=3.0)
        with host.connect() as device:
            alive = len(device.logits(small, feeds(1), 1)) == len(ROWS)
        return f"{reason}; a small model still runs", is_refused and alive
    finally:
        host.stop()
        subprocess.run(["umount", host.agent_folder], check=False)


def send_hostile_models(host: SecondHost) -> tuple[str, bool]:
    """Send models that read other files, claim absurd shapes, nest graphs or contain code."""
    host.start()
    refusals = []
    for kind, reason in HOSTILE.items():
        file = host.folder / "hostile.onnx"
        file.write_bytes(hostile(kind, host.folder).SerializeToString())
        refusals.append(try_upload(host, file, reason)[1])
    left = [path for path in host.agent_folder.rglob("*") if path.is_file()]
    return f"{sum(refusals)} of {len(refusals)} refused, {len(left)} files left", all(refusals) and not left


def send_deep_nesting(host: SecondHost) -> tuple[str, bool]:
    """Send graphs nested 10,000 deep, and a zip bomb instead of a model."""
    host.start()
    nested = b""
    for _ in range(10_000):
        nested = protobuf_field(5, protobuf_field(6, nested))  # attribute -> graph
        nested = protobuf_field(1, nested)  # node
    (host.folder / "nested").write_bytes(protobuf_field(7, nested))
    (host.folder / "bomb").write_bytes(b"PK\x03\x04" + bytes(1_000_000))
    results = [try_upload(host, host.folder / name, ".") for name in ("nested", "bomb")]
    return "; ".join(reason for reason, _ in results), all(is_refused for _, is_refused in results)


def serve_many_clients(host: SecondHost) -> tuple[str, bool]:
    """Serve 32 clients at once, each with its own run."""
    host.start()
    model = write_model(host.folder / "small")

    def request(_: int) -> float:
        start = time.monotonic()
        with host.connect() as device:
            assert len(device.logits(model, feeds(1), 1)) == len(ROWS)
        return time.monotonic() - start

    with ThreadPoolExecutor(CLIENTS) as clients:
        waits = list(clients.map(request, range(CLIENTS)))
    result = f"all served after {min(waits):.1f} to {max(waits):.1f} s; agent's peak {host.peak_mb():.0f} MB"
    return result, host.peak_mb() < MAX_AGENT_MB


SCENES: dict[str, Callable[[SecondHost], tuple[str, bool]]] = {
    "the same model on both hosts": compare_logits,
    "packages and memory of the agent's process": inspect_agent,
    "a wrong token": send_wrong_token,
    "an upload of 2 GB; the agent is killed at 30 %, the link is down for 5 s at 60 %": upload_large_model,
    "a model over the quota": exceed_quota,
    "`kill -9` of the agent during a measurement": kill_agent_during_measurement,
    "the link down for 5 s during a measurement": cut_link_during_measurement,
    "`kill -9` of the host during a measurement": kill_client_during_measurement,
    "a full disk": fill_disk,
    "hostile models": send_hostile_models,
    "graphs nested 10,000 deep, and a packed file": send_deep_nesting,
    f"{CLIENTS} clients at once": serve_many_clients,
}


def disturb_measurement(host: SecondHost, disturb: Callable[[], None]) -> tuple[str, bool]:
    """Call `disturb` during a measurement; the measurement must still succeed."""
    host.start()
    model = write_model(host.folder / "slow", rows=5000)
    long = feeds(512, [np.arange(1, 4001)] * 512)  # a call takes some 20 ms, a measurement seconds
    with ThreadPoolExecutor(1) as pool, host.connect() as device:
        result = pool.submit(device.latency, model, None, long, 1)
        time.sleep(3)
        ended_early = result.done()
        disturb()
        latency = result.result(timeout=120).latency
    return f"the measurement succeeded: {1000 * latency.p50_ms:.0f} µs", latency.p50_ms > 0 and not ended_early


def try_upload(host: SecondHost, model: Path, reason: str, patience: float = 120.0) -> tuple[str, bool]:
    """Return the agent's message for a model, and whether it is a refusal that matches the pattern `reason`."""
    with host.connect(patience=patience) as device:
        try:
            device.send(model)
        except (AutocompressError, DeviceLost) as error:
            message = str(error).removeprefix(f"the device {URL}: ")
            return message, re.search(reason, message) is not None
    return "the model was accepted", False


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds, for at most two minutes."""
    end = time.monotonic() + 120
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()

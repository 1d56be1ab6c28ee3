"""An agent on a second host, and all that can go wrong on the way. `sudo python -m benchmarks.second_host`, Linux, as root.

The second host is a network namespace with an address, a link and a folder of its own. Each line of the table is something
that was done to it, and what came of it; the exit code is 1 where one of them is not as it must be.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from autocompress.benchmarking.agent.client import RemoteDevice
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.storage.checksums import file_sha256
from tests.devices import HOSTILE, ROWS, TOKEN, feeds, hostile, write_model

SPACE, HERE, THERE, PORT = "autocompress-device", "10.77.31.1", "10.77.31.2", 7311
URL = f"http://{THERE}:{PORT}"
LARGE_BYTES = 2_000_000_000  # the most that an agent takes unless told otherwise
CLIENTS = 32
MOST_AGENT_MB = 150


def main() -> None:
    """Do it all, and print a table."""
    lines: list[tuple[str, str, bool]] = []
    with tempfile.TemporaryDirectory() as place, second_host():
        host = Host(Path(place))
        for what, act in SCENES.items():
            print(f"… {what}", file=sys.stderr, flush=True)
            start = time.monotonic()
            try:
                found, fine = act(host)
            except Exception as error:  # a scene that breaks is a finding, and the others go on
                found, fine = f"{type(error).__name__}: {error}", False
            finally:
                host.stop()
            lines.append((what, f"{found} ({time.monotonic() - start:.0f} s)", fine))
    print("\n| what was done | what came of it | |\n|---|---|---|")
    for what, found, fine in lines:
        print(f"| {what} | {found} | {'as it must be' if fine else '**wrong**'} |")
    sys.exit(0 if all(fine for *_, fine in lines) else 1)


class Host:
    """The second host, and its agent."""

    def __init__(self, place: Path) -> None:
        self.place, self.folder = place, place / "device"
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start the agent, and wait until it answers."""
        command = ["ip", "netns", "exec", SPACE, sys.executable, "-m", "autocompress", "agent", "--host", THERE]
        command += ["--port", str(PORT), "--folder", str(self.folder), *options]
        environment = {**os.environ, "AUTOCOMPRESS_TOKEN": TOKEN}
        self._agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        with self.line() as device:
            device.fingerprint()

    def kill(self) -> None:
        """End the agent at once, as the kernel does where memory is short."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait()

    def stop(self) -> None:
        """End the agent, and forget its models."""
        if self._agent is not None:
            self.kill()
            self._agent = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def peak_mb(self) -> float:
        """The agent's own peak of resident memory, models in other processes apart."""
        assert self._agent is not None
        status = Path(f"/proc/{self._agent.pid}/status").read_text(encoding="utf-8")
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6

    def line(self, token: str = TOKEN, patience: float = 120.0) -> RemoteDevice:
        """A line to the agent."""
        return RemoteDevice(URL, token, patience=patience)


def measures(host: Host) -> tuple[str, bool]:
    """A model on the second host gives the logits that it gives here."""
    from autocompress.runtimes import onnxruntime

    host.start()
    model = write_model(host.place / "fine")
    with host.line() as device:
        there = device.logits(model, feeds(1), 1)
        timed = device.latency(model, None, feeds(1)[:1], 1)
        latency, memory = timed.latency, timed.memory_mb
    session = onnxruntime.open_session(model.parent, 1)
    here = np.concatenate([session.run(feed) for feed in feeds(1)])
    same = float(np.abs(there - here).max())
    return f"logits differ by {same:.1g}; {1000 * latency.p50_ms:.0f} µs, {memory:.1f} MB", same < 1e-5


def no_torch(host: Host) -> tuple[str, bool]:
    """What the agent's process has loaded, and its memory."""
    host.start()
    model = write_model(host.place / "fine")
    with host.line() as device:
        device.logits(model, feeds(1), 1)
    assert host._agent is not None
    loaded = Path(f"/proc/{host._agent.pid}/maps").read_text(encoding="utf-8")
    found = [name for name in ("libtorch", "transformers", "onnxruntime") if name in loaded]
    return f"peak {host.peak_mb():.0f} MB; loaded: {', '.join(found) or 'none of torch, transformers, runtime'}", (
        not found and host.peak_mb() < MOST_AGENT_MB
    )


def wrong_token(host: Host) -> tuple[str, bool]:
    """Nothing is told to whoever has not the token."""
    host.start()
    with host.line("not the token at all") as stranger:
        try:
            stranger.fingerprint()
        except UsageError as error:
            return str(error).removeprefix(f"the device {URL}: "), True
    return "it was let in", False


def large_upload(host: Host) -> tuple[str, bool]:
    """2 GB, while the agent is killed and the link goes down."""
    host.start("--run-gb", "10")
    model = large_model(host.place / "large")
    folder = host.folder / "parts"

    def trouble() -> None:
        wait_for(lambda: held(folder) > 0.3 * LARGE_BYTES)
        host.kill()
        time.sleep(2)
        host.start("--run-gb", "10")
        wait_for(lambda: held(folder) > 0.6 * LARGE_BYTES)
        link("down")
        time.sleep(5)
        link("up")

    thread = threading.Thread(target=trouble)
    thread.start()
    before = bytes_sent()
    with host.line() as device:
        sha256 = device.send(model)
        thread.join()
        sent = bytes_sent() - before
        logits = device.logits(model, feeds(1)[:1], 1)
    there = host.folder / "models" / sha256 / "model.onnx"
    same = file_sha256(there) == sha256 and logits.shape == (1, 3)
    words = f"{sent / 1e9:.2f} GB went over the link for {model.stat().st_size / 1e9:.2f}; agent's peak {host.peak_mb():.0f} MB"
    model.unlink()
    return words, same and sent < 1.1 * LARGE_BYTES and host.peak_mb() < MOST_AGENT_MB


def too_large(host: Host) -> tuple[str, bool]:
    """A model larger than all the room that there is."""
    host.start("--max-gb", "0.1")
    model = write_model(host.place / "wide", rows=2_000_000)
    return refused(host, model, "quota|room|at most")


def agent_killed(host: Host) -> tuple[str, bool]:
    """The agent dies in the middle of a measurement."""

    def kill() -> None:
        host.kill()
        time.sleep(2)
        host.start()

    return in_the_middle(host, kill)


def link_down(host: Host) -> tuple[str, bool]:
    """The link goes down in the middle of a measurement."""

    def cut() -> None:
        link("down")
        time.sleep(5)
        link("up")

    return in_the_middle(host, cut)


def host_killed(host: Host) -> tuple[str, bool]:
    """The one who asked dies in the middle of a measurement."""
    host.start()
    model = write_model(host.place / "slow", rows=200_000)
    code = (
        "import sys; from pathlib import Path; from autocompress.benchmarking.agent.client import RemoteDevice; "
        "from tests.devices import TOKEN, feeds; "
        "device = RemoteDevice(sys.argv[1], TOKEN); "
        "[device.latency(Path(sys.argv[2]), None, feeds(1)[:1], 1) for _ in range(9)]"
    )
    asking = subprocess.Popen([sys.executable, "-c", code, URL, str(model)])
    time.sleep(4)
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    with host.line() as device:
        start = time.monotonic()
        device.logits(model, feeds(1), 1)
    return f"the next one was served after {time.monotonic() - start:.1f} s", True


def full_disk(host: Host) -> tuple[str, bool]:
    """The device's disk has no room."""
    host.folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", host.folder], check=True)
    try:
        host.start()
        large, small = write_model(host.place / "large", rows=200_000), write_model(host.place / "small")
        found = refused(host, large, "disk is full|no room", patience=3.0)
        with host.line() as device:
            alive = len(device.logits(small, feeds(1), 1)) == len(ROWS)
        return f"{found[0]}; a small model still runs", found[1] and alive
    finally:
        host.stop()
        subprocess.run(["umount", host.folder], check=False)


def hostile_models(host: Host) -> tuple[str, bool]:
    """Models that read other files, claim absurd shapes, nest graphs, carry code."""
    host.start()
    fine = []
    for kind, reason in HOSTILE.items():
        file = host.place / "hostile.onnx"
        file.write_bytes(hostile(kind, host.place).SerializeToString())
        fine.append(refused(host, file, reason)[1])
    left = [path for path in host.folder.rglob("*") if path.is_file()]
    return f"{sum(fine)} of {len(fine)} refused, {len(left)} files left behind", all(fine) and not left


def deep_nesting(host: Host) -> tuple[str, bool]:
    """A graph in a graph, 10,000 deep, and a zip bomb in place of a model."""
    host.start()
    nested = b""
    for _ in range(10_000):
        nested = field(5, field(6, nested))  # attribute -> graph
        nested = field(1, nested)  # node
    (host.place / "nested").write_bytes(field(7, nested))
    (host.place / "bomb").write_bytes(b"PK\x03\x04" + bytes(1_000_000))
    found = [refused(host, host.place / name, ".") for name in ("nested", "bomb")]
    return "; ".join(words for words, _ in found), all(fine for _, fine in found)


def many_clients(host: Host) -> tuple[str, bool]:
    """32 at once, each with a run of its own."""
    host.start()
    model = write_model(host.place / "fine")

    def ask(_: int) -> float:
        start = time.monotonic()
        with host.line() as device:
            assert len(device.logits(model, feeds(1), 1)) == len(ROWS)
        return time.monotonic() - start

    with ThreadPoolExecutor(CLIENTS) as clients:
        waits = list(clients.map(ask, range(CLIENTS)))
    words = f"all served after {min(waits):.1f} to {max(waits):.1f} s; agent's peak {host.peak_mb():.0f} MB"
    return words, host.peak_mb() < MOST_AGENT_MB


SCENES: dict[str, Callable[[Host], tuple[str, bool]]] = {
    "a model is run there and here": measures,
    "what the agent's process holds": no_torch,
    "a wrong token": wrong_token,
    "2 GB are sent; the agent is killed at 30 %, the link goes down for 5 s at 60 %": large_upload,
    "a model beyond the quota": too_large,
    "`kill -9` of the agent during a measurement": agent_killed,
    "the link down for 5 s during a measurement": link_down,
    "`kill -9` of the host during a measurement": host_killed,
    "a full disk": full_disk,
    "hostile models": hostile_models,
    "graphs nested 10,000 deep, and a packed file": deep_nesting,
    f"{CLIENTS} clients at once": many_clients,
}


def in_the_middle(host: Host, act: Callable[[], None]) -> tuple[str, bool]:
    """Something happens while a model is measured; the measurement must come all the same."""
    host.start()
    model = write_model(host.place / "slow", rows=5000)
    long = feeds(512, [np.arange(1, 4001)] * 512)  # a call takes some 20 ms, a measurement seconds
    with ThreadPoolExecutor(1) as pool, host.line() as device:
        asked = pool.submit(device.latency, model, None, long, 1)
        time.sleep(3)
        early = asked.done()
        act()
        latency, _, _ = asked.result(timeout=120)
    return f"the measurement came: {1000 * latency.p50_ms:.0f} µs", latency.p50_ms > 0 and not early


def refused(host: Host, model: Path, reason: str, patience: float = 120.0) -> tuple[str, bool]:
    """The reason why a model is not taken."""
    import re

    with host.line(patience=patience) as device:
        try:
            device.send(model)
        except (AutocompressError, DeviceLost) as error:
            words = str(error).removeprefix(f"the device {URL}: ")
            return words, re.search(reason, words) is not None
    return "it was taken", False


def large_model(folder: Path) -> Path:
    """A model of nearly 2 GB, most of it one table."""
    rows = (LARGE_BYTES - 100_000) // (16 * 4)
    model = onnx.load(write_model(folder))
    table = model.graph.initializer[0]
    table.dims[:] = [rows, 16]
    table.raw_data = bytes(rows * 16 * 4)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire format that holds bytes."""
    length, varint = len(content), b""
    while length > 127:
        varint += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + varint + bytes([length]) + content


def held(folder: Path) -> int:
    """Bytes of what lies in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def wait_for(there: Callable[[], bool]) -> None:
    """Look every now and then, for at most two minutes."""
    end = time.monotonic() + 120
    while not there() and time.monotonic() < end:
        time.sleep(0.05)


def bytes_sent() -> int:
    """Over this side's end of the link."""
    return int(Path("/sys/class/net/ac-here/statistics/tx_bytes").read_text(encoding="utf-8"))


def link(state: str) -> None:
    """Let the link go up or down."""
    subprocess.run(["ip", "link", "set", "ac-here", state], check=True)


@contextmanager
def second_host() -> Iterator[None]:
    """A network namespace with a link to this one."""
    if os.geteuid() != 0:
        sys.exit("a network namespace needs root: sudo python -m benchmarks.second_host")
    inside = ["ip", "netns", "exec", SPACE]
    steps = [
        ["ip", "netns", "add", SPACE],
        ["ip", "link", "add", "ac-here", "type", "veth", "peer", "name", "ac-there", "netns", SPACE],
        ["ip", "addr", "add", f"{HERE}/24", "dev", "ac-here"],
        ["ip", "link", "set", "ac-here", "up"],
        [*inside, "ip", "addr", "add", f"{THERE}/24", "dev", "ac-there"],
        [*inside, "ip", "link", "set", "ac-there", "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
    ]
    subprocess.run(["ip", "netns", "del", SPACE], check=False, stderr=subprocess.DEVNULL)
    try:
        for step in steps:
            subprocess.run(step, check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=False)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()

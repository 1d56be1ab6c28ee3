"""A second host for `second_host`: a network namespace with an address, a link, and an agent of its own. Linux, as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocompress.benchmarking.agent.client import RemoteDevice
from tests.devices import TOKEN

NAMESPACE, HOST_ADDRESS, DEVICE_ADDRESS, PORT = "autocompress-device", "10.77.31.1", "10.77.31.2", 7311
HOST_LINK, DEVICE_LINK = "ac-here", "ac-there"
URL = f"http://{DEVICE_ADDRESS}:{PORT}"


class SecondHost:
    """The second host and its agent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.agent_folder = folder, folder / "device"
        self._agent: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start the agent, and wait until it answers."""
        command = ["ip", "netns", "exec", NAMESPACE, sys.executable, "-m", "autocompress", "agent"]
        command += ["--host", DEVICE_ADDRESS, "--port", str(PORT), "--folder", str(self.agent_folder), *options]
        environment = {**os.environ, "AUTOCOMPRESS_TOKEN": TOKEN}
        self._agent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        with self.connect() as device:
            device.fingerprint()

    def kill(self) -> None:
        """Kill the agent at once, as the kernel does if memory is short."""
        self._running.kill()
        self._running.wait()

    def stop(self) -> None:
        """Kill the agent, and remove its models."""
        if self._agent is not None:
            self.kill()
            self._agent = None
        shutil.rmtree(self.agent_folder, ignore_errors=True)

    def peak_mb(self) -> float:
        """Return the peak of the agent's resident memory, without its child processes."""
        status = Path(f"/proc/{self._running.pid}/status").read_text(encoding="utf-8")
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6

    def memory_map(self) -> str:
        """Return the files that the agent's process has mapped into its memory."""
        return Path(f"/proc/{self._running.pid}/maps").read_text(encoding="utf-8")

    def connect(self, token: str = TOKEN, patience: float = 120.0) -> RemoteDevice:
        """Connect to the agent."""
        return RemoteDevice(URL, token, patience=patience)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._agent is not None
        return self._agent


def bytes_sent() -> int:
    """Return the bytes that this host has sent over the link."""
    return int(Path(f"/sys/class/net/{HOST_LINK}/statistics/tx_bytes").read_text(encoding="utf-8"))


def set_link(state: str) -> None:
    """Set the link `up` or `down`."""
    subprocess.run(["ip", "link", "set", HOST_LINK, state], check=True)


@contextmanager
def open_namespace() -> Iterator[None]:
    """Create a network namespace with a link to this host; remove it at the end."""
    if os.geteuid() != 0:
        sys.exit("a network namespace needs root: sudo python -m benchmarks.second_host")
    inside = ["ip", "netns", "exec", NAMESPACE]
    steps = [
        ["ip", "netns", "add", NAMESPACE],
        ["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", DEVICE_LINK, "netns", NAMESPACE],
        ["ip", "addr", "add", f"{HOST_ADDRESS}/24", "dev", HOST_LINK],
        ["ip", "link", "set", HOST_LINK, "up"],
        [*inside, "ip", "addr", "add", f"{DEVICE_ADDRESS}/24", "dev", DEVICE_LINK],
        [*inside, "ip", "link", "set", DEVICE_LINK, "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
    ]
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, stderr=subprocess.DEVNULL)
    try:
        for step in steps:
            subprocess.run(step, check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)

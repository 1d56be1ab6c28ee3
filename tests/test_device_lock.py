"""The device lock, between real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from autocompress.storage import device_lock

TRAINER = """
import sys, time
from pathlib import Path
from autocompress.storage import device_lock
root, out = Path(sys.argv[1]), open(sys.argv[2], "w", buffering=1)
with device_lock.share_with_pauses(root) as pause:
    step = pause(lambda fraction: None)
    out.write("started\\n")
    while True:
        begin = time.monotonic()
        while time.monotonic() < begin + 0.02:
            pass
        out.write(f"{time.time()}\\n")
        step(0.5)
"""

HOLDER = """
import sys, time
from pathlib import Path
from autocompress.storage import device_lock
with device_lock.hold_exclusively(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def start_trainer(root: Path, out: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", TRAINER, str(root), str(out)])
    while not out.exists() or "started" not in out.read_text():
        assert process.poll() is None, "the trainer ended"
        time.sleep(0.02)
    return process


def step_times(out: Path) -> list[float]:
    return [float(line) for line in out.read_text().splitlines() if line[:1].isdigit() and line.count(".") == 1]


def test_trainers_pause_during_a_measurement_and_continue_after_it(tmp_path: Path) -> None:
    trainers = [start_trainer(tmp_path, tmp_path / name) for name in ("first", "second")]
    try:
        with device_lock.hold_exclusively(tmp_path):
            begin = time.time()
            time.sleep(0.6)
            end = time.time()
        time.sleep(0.4)
    finally:
        for process in trainers:
            process.kill()
            process.wait()
    for name in ("first", "second"):
        times = step_times(tmp_path / name)
        assert any(moment < begin for moment in times)
        assert not [moment for moment in times if begin + 0.01 < moment < end]
        assert any(moment > end for moment in times)


def test_a_killed_measurement_releases_the_device(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with device_lock.share(tmp_path):
        pass

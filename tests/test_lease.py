"""The device lease, between real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from autocompress.storage import device_lock

TRAINER = """
import sys, time
from pathlib import Path
from autocompress import lease
root, out = Path(sys.argv[1]), open(sys.argv[2], "w", buffering=1)
with lease.training(root) as pause:
    step = pause(lambda fraction: None)
    out.write("started\\n")
    while True:
        begin = time.monotonic()
        while time.monotonic() < begin + 0.02:
            pass
        out.write(f"{time.time()}\\n")
        step(0.5)
"""


def trainer(root: Path, out: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", TRAINER, str(root), str(out)])
    while not out.exists() or "started" not in out.read_text():
        time.sleep(0.02)
    return process


def steps(out: Path) -> list[float]:
    return [float(line) for line in out.read_text().splitlines() if line[:1].isdigit() and line.count(".") == 1]


def test_trainers_stand_still_while_one_measures_and_go_on_afterwards(tmp_path: Path) -> None:
    trainers = [trainer(tmp_path, tmp_path / name) for name in ("one", "two")]
    try:
        with device_lock.measuring(tmp_path):
            begin = time.time()
            time.sleep(0.6)
            end = time.time()
        time.sleep(0.4)
    finally:
        for process in trainers:
            process.kill()
            process.wait()
    for name in ("one", "two"):
        taken = steps(tmp_path / name)
        assert any(moment < begin for moment in taken)
        assert not [moment for moment in taken if begin + 0.01 < moment < end]
        assert any(moment > end for moment in taken)


def test_a_measurement_that_is_killed_does_not_hold_the_device(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from autocompress import lease\n"
        "with lease.measuring(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with device_lock.computing(tmp_path):
        pass

"""The local executor: its contract, and that its processes neither outlive their supervisor nor run its script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from autocompress.config import StudyPlan, read_plan
from autocompress.search.executors import Executor
from autocompress.search.executors.local import LocalExecutor, describe_exit
from autocompress.search.jobs import RunSettings
from tests.conftest import ROOT
from tests.contracts.executor import FAILING_JOB, ExecutorContract, next_result
from tests.tiny import tiny_study

SCRIPT = """
import sys, time
from autocompress.config import read_plan
from autocompress.search.executors.local import LocalExecutor
from autocompress.search.jobs import Job, RunSettings

print("started", flush=True)
executor = LocalExecutor(read_plan(sys.argv[1]), offline=True)
slot = executor.submit(Job("teacher", 0), RunSettings())
while not executor.poll(1):
    pass
print(executor._workers[slot]._process.pid, flush=True)
time.sleep(60)
"""


class TestLocalExecutor(ExecutorContract):
    def open_executor(self, plan: StudyPlan) -> Executor:
        return LocalExecutor(plan, offline=True)

    def kill_process(self, executor: Executor, slot: int) -> None:
        assert isinstance(executor, LocalExecutor)
        process = executor._workers[slot]._process
        assert process is not None and process.pid is not None
        os.kill(process.pid, signal.SIGKILL)


def test_the_trace_of_an_error_is_in_the_log_of_its_trial(tmp_path: Path) -> None:
    plan = read_plan(tiny_study(tmp_path))
    executor = LocalExecutor(plan, offline=True)
    next_result(executor, executor.submit(FAILING_JOB, RunSettings()))
    executor.close()
    assert "Traceback" in (plan.artifacts.path / "logs" / "trial-0007.log").read_text()


def test_processes_end_with_their_supervisor_and_do_not_run_its_script(tmp_path: Path) -> None:
    file, script = tiny_study(tmp_path), tmp_path / "script.py"
    script.write_text(SCRIPT)  # without `if __name__ == "__main__"`
    command, environment = [sys.executable, str(script), str(file)], {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 30
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_alive(child)


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split()[2]
    except FileNotFoundError:
        return False


def test_describe_exit_names_signals() -> None:
    assert describe_exit(-9) == "was killed by SIGKILL (out of memory?)"
    assert describe_exit(3) == "ended with exit code 3"

"""Trials per hour of one worker on one core, one worker on all cores, and one worker per core.

`python benchmarks/workers.py STUDY.yaml`. Every search runs the same random recipes, each with a short training, none reused.
Teacher and teacher outputs are computed once and copied, so that only trials are timed. The process's
affinity limits the cores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from autocompress.config import read_plan
from autocompress.study import read_study

TRIALS = 16
ENGINE = {"supernet": False, "rungs": False, "starters": False, "reuse": False, "sampler": "random"}
RECOVERY = {"epochs": 1.2, "copies": 1}


def main(file: str) -> None:
    """Run the three searches, and print a table."""
    cores = sorted(os.sched_getaffinity(0))
    folder = Path(file).parent / "workers_benchmark"
    folder.mkdir(exist_ok=True)
    settings = {"one worker, one core": (1, cores[:1]), f"one worker, {len(cores)} cores": (1, cores),
            f"{len(cores)} workers, one core each": (len(cores), cores)}  # fmt: skip
    rates: dict[str, float] = {}
    for number, (setting, (workers, used_cores)) in enumerate(settings.items()):
        study = folder / f"workers_{number}.yaml"
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        values |= {
            "study": study.stem,
            "engine": ENGINE,
            "recovery": RECOVERY,
            "workers": workers,
            "budget": {"trials": 1},
        }
        study.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        shutil.rmtree(folder / study.stem, ignore_errors=True)
        if number:
            shutil.copytree(folder / "workers_0" / "artifacts" / "stages", folder / study.stem / "artifacts" / "stages")
            shutil.rmtree(folder / study.stem / "artifacts" / "stages" / "recovered")
        search(study, used_cores, 1)  # the teacher, the shared stages, and one trial
        start = time.monotonic()
        search(study, used_cores, 1 + TRIALS)
        rates[setting] = 3600 * TRIALS / (time.monotonic() - start)
    print(f"\n{TRIALS} trials each; worker start-up included\n")
    print("| workers | trials per hour | ratio |\n|---|--:|--:|")
    first = next(iter(rates.values()))
    for setting, rate in rates.items():
        print(f"| {setting} | {rate:.0f} | {rate / first:.2f} |")
    locks = read_device_locks(folder / f"workers_{len(settings) - 1}.yaml")
    print(f"\nDevice lock in the records of the last search: {locks[-1]}")


def search(study: Path, cores: list[int], trials: int) -> None:
    """Search on these cores until this number of trials is done."""
    command = [
        "taskset",
        "-c",
        ",".join(map(str, cores)),
        sys.executable,
        "-m",
        "autocompress",
        "search",
        str(study),
        "-q",
    ]
    subprocess.run([*command, "--offline", "--trials", str(trials)], check=True, stdout=subprocess.DEVNULL)


def read_device_locks(study: Path) -> list[str]:
    """Return the device-lock condition of each measurement."""
    from autocompress.study.trial_details import read_trial_details

    plan = read_plan(study)
    rows = [row for row in read_study(plan.storage, plan.study).rows if row.trial and row.state == "complete"]
    measurements = [read_trial_details(plan.storage, plan.study, row.trial).outcome.measurement for row in rows]
    return [str(measurement.conditions["device_lease"]) for measurement in measurements if measurement is not None]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Time report and dashboard with 3, 50 and 500 trials: `python -m benchmarks.screens DIR` writes a picture of each.

A formula replaces training and measuring; database, report, dashboard and browser are real. Prints the seconds from the request
of a page until all of its plots are drawn. Needs chromium and the extra `benchmarks` (websockets).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from autocompress.config import read_plan
from autocompress.core.domain import Anatomy
from autocompress.interfaces.dashboard import open_server
from autocompress.space.parsing import resolve_space
from autocompress.study import Study, read_study
from benchmarks.browsing import PLOTS, TRIAL_NOTE, open_browser
from tests.formula import SPACE, quality, search
from tests.tiny import tiny_study, tiny_teacher

TRIALS = (3, 50, 500)


def main(folder: Path) -> None:
    """Create a study of each size, and open its pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for trials in TRIALS:
        with tempfile.TemporaryDirectory() as study_folder, open_browser() as open_page:
            file = create_study(trials, Path(study_folder))
            start = time.perf_counter()
            page = folder / f"report-{trials}.html"
            command = [
                sys.executable,
                "-m",
                "autocompress",
                "report",
                str(file),
                "--no-ablation",
                "--to",
                str(page),
                "-q",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            write_seconds = time.perf_counter() - start
            seconds = open_page(page.resolve().as_uri(), PLOTS, folder / f"report-{trials}.png")
            size = page.stat().st_size / 1e6
            print(f"{trials} trials: report written in {write_seconds:.1f} s, {size:.1f} MB, opened in {seconds:.2f} s")
            with open_server(read_plan(file).storage, file.stem, "127.0.0.1", 0, read_only=True) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                study_seconds = open_page(server.address, PLOTS, folder / f"dashboard-{trials}.png")
                trial_page = f"{server.address}/trials?numbers=1"
                trial_seconds = open_page(trial_page, TRIAL_NOTE, folder / f"trial-{trials}.png")
                server.shutdown()
            print(
                f"{trials} trials: dashboard opened in {study_seconds:.2f} s, a trial's page in {trial_seconds:.2f} s"
            )


def create_study(trials: int, folder: Path) -> Path:
    """Create a study with this number of trials and its front measured on test; return the study file."""
    tiny_teacher(folder / "teacher", layers=6)
    file = tiny_study(
        folder,
        f"with_{trials}",
        space=SPACE,
        budget={"trials": trials},
        constraints={"max_drop": 0.05},
        engine={"sampler": "random"},
    )
    plan = read_plan(file)
    study = Study.open(plan, resolve_space(SPACE, Anatomy(6), {}, "space"))
    with study.lease():
        search(study, trials)
        for row in read_study(plan.storage, plan.study).front:
            study.record_quality(row.trial, quality("test", (row.drop or 0.0) + 0.004))
        study.finish()
    study.close()
    return file


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Report and dashboard with 3, 50 and 500 trials, looked at: `python -m benchmarks.screens DIR` writes a picture of each.

A formula stands in for training and measuring; database, report, dashboard and browser are real. Prints the seconds from asking
the browser for a page until all of its plots are drawn. Needs chromium and the extra `benchmarks` (websockets).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from autocompress.config import read_plan
from autocompress.interfaces.dashboard import open_server
from autocompress.space.parsing import resolve_space
from autocompress.study import Study, read_study
from benchmarks.browsing import NOTE, PLOTS, browser
from tests.formula import SPACE, quality, search
from tests.tiny import tiny_study, tiny_teacher

TRIALS = (3, 50, 500)


def main(to: Path) -> None:
    """Make the studies, look at each."""
    to.mkdir(parents=True, exist_ok=True)
    for trials in TRIALS:
        with tempfile.TemporaryDirectory() as place, browser() as look:
            file = study_of(trials, Path(place))
            begun = time.perf_counter()
            page = to / f"report-{trials}.html"
            told = [sys.executable, "-m", "autocompress", "report", str(file), "--no-ablation", "--to", str(page), "-q"]
            subprocess.run(told, check=True, stdout=subprocess.DEVNULL)
            made = time.perf_counter() - begun
            seen = look(page.resolve().as_uri(), PLOTS, to / f"report-{trials}.png")
            size = page.stat().st_size / 1e6
            print(f"{trials} trials: report made in {made:.1f} s, {size:.1f} MB, opened in {seen:.2f} s")
            with open_server(read_plan(file).storage, file.stem, "127.0.0.1", 0, read_only=True) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                seen = look(server.address, PLOTS, to / f"dashboard-{trials}.png")
                one = look(f"{server.address}/trials?numbers=1", NOTE, to / f"trial-{trials}.png")
                server.shutdown()
            print(f"{trials} trials: dashboard opened in {seen:.2f} s, a trial's page in {one:.2f} s", flush=True)


def study_of(trials: int, folder: Path) -> Path:
    """A study file with so many trials in its database, the front measured on test."""
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
    study = Study.open(plan, resolve_space(SPACE, 6, {}, "space"))
    with study.lease():
        search(study, trials)
        for row in read_study(plan.storage, plan.study).front:
            study.record_quality(row.trial, quality("test", (row.drop or 0.0) + 0.004))
        study.finish()
    study.close()
    return file


if __name__ == "__main__":
    main(Path(sys.argv[1]))

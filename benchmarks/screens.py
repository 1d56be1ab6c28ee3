"""Report and dashboard with 3, 50 and 500 trials, looked at: `python -m benchmarks.screens DIR` writes a picture of each.

A formula stands in for training and measuring; database, report, dashboard and browser are real. Prints how long the browser
takes from being started until a page has fetched and run all it needs (its clock is turned forward when it would only wait),
less what it takes for an empty page.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from autocompress.dashboard import open_server
from autocompress.plan import read_plan
from autocompress.space import resolve_space
from autocompress.study import Study, read_study
from tests.formula import SPACE, quality, search
from tests.tiny import tiny_study, tiny_teacher

TRIALS = (3, 50, 500)
ROUNDS = 3
BROWSER = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
IDLE = "--virtual-time-budget=8000"  # ms


def main(to: Path) -> None:
    """Make the studies, look at each."""
    to.mkdir(parents=True, exist_ok=True)
    empty = opened("about:blank")
    for trials in TRIALS:
        with tempfile.TemporaryDirectory() as place:
            file = study_of(trials, Path(place))
            begun = time.perf_counter()
            page = to / f"report-{trials}.html"
            told = [sys.executable, "-m", "autocompress", "report", str(file), "--no-ablation", "--to", str(page), "-q"]
            subprocess.run(told, check=True)
            made = time.perf_counter() - begun
            seen = opened(page.resolve().as_uri(), to / f"report-{trials}.png", 3600)
            size = page.stat().st_size / 1e6
            print(f"{trials} trials: report made in {made:.1f} s, {size:.1f} MB, opened in {seen - empty:.1f} s")
            with open_server(read_plan(file).storage, file.stem, "127.0.0.1", 0, read_only=True) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                trial = f"{server.address}/trials?numbers=1"
                seen = opened(server.address, to / f"dashboard-{trials}.png", 4200)
                one = opened(trial, to / f"trial-{trials}.png", 1600)
                server.shutdown()
            print(f"{trials} trials: dashboard opened in {seen - empty:.1f} s, a trial's page in {one - empty:.1f} s")


def study_of(trials: int, folder: Path) -> Path:
    """A study file with so many trials in its database, the front measured on test."""
    tiny_teacher(folder / "teacher", layers=6)
    file = tiny_study(folder, f"with_{trials}", space=SPACE, budget={"trials": trials}, constraints={"max_drop": 0.05})
    plan = read_plan(file)
    study = Study.open(plan, resolve_space(SPACE, 6, {}, "space"))
    with study.lease():
        search(study, trials)
        for row in read_study(plan.storage, plan.study).front:
            study.record_quality(row.trial, quality("test", (row.drop or 0.0) + 0.004))
        study.finish()
    study.close()
    return file


def opened(address: str, picture: Path | None = None, height: int = 900) -> float:
    """Seconds of the fastest of some rounds, from the start of the browser to the page as its scripts have made it."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run([*BROWSER, IDLE, "--dump-dom", address], check=True, capture_output=True, timeout=120)
        rounds.append(time.perf_counter() - begun)
    if picture is not None:
        drawn = [IDLE, f"--window-size=1300,{height}", f"--screenshot={picture}"]
        subprocess.run([*BROWSER, *drawn, address], check=True, capture_output=True, timeout=120)
    return min(rounds)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What the engine itself costs: 2,000 trials of a formula instead of a pipeline. `python -m benchmarks.engine_overhead`.

Prints, for each quarter of the trials, the milliseconds that a trial took apart from the sampler's proposal, and those of the
proposal; with `--profile`, what dominates. `--sampler gp --trials 200` looks at another sampler.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search import supervisor as searching
from autocompress.search import worker_pool as crews
from autocompress.search.supervisor import Supervisor
from autocompress.search.worker_pool import open_worker_pool
from autocompress.study import Study
from tests.formula import FormulaWorker, open_study, plan_in, space


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    proposals, moments = clocked()
    with tempfile.TemporaryDirectory() as folder:
        changes = {"budget": {"trials": given.trials}, "engine": {"sampler": given.sampler}, "constraints": {}}
        study, plan = open_study(Path(folder), **changes), plan_in(Path(folder), **changes)
        crews.Worker = FormulaWorker  # type: ignore[misc, assignment]  # stands in for the worker processes
        profile = cProfile.Profile()
        with study.lease(), open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
            if given.profile:
                profile.enable()
            Supervisor(plan, study, space(), pool).run()
            profile.disable()
    print(f"sampler {given.sampler}, {len(moments)} trials told; milliseconds a trial, the mean of each quarter")
    print("| trials | engine | proposal |\n|--:|--:|--:|")
    quarter = len(moments) // 4
    for first in range(0, 4 * quarter, quarter):
        begin, end = moments[first], moments[min(first + quarter, len(moments) - 1)]
        proposed = [seconds for moment, seconds in proposals if begin <= moment < end]
        engine = (end - begin - sum(proposed)) / quarter
        mean = sum(proposed) / max(1, len(proposed))
        print(f"| {first} to {first + quarter} | {1e3 * engine:.1f} | {1e3 * mean:.1f} |")
    if given.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def clocked() -> tuple[list[tuple[float, float]], list[float]]:
    """Moments and seconds of the sampler's proposals; the moments at which trials were told."""
    proposals: list[tuple[float, float]] = []
    moments: list[float] = []
    suggest, tell, ask = searching.Space.suggest, Study.tell, optuna.Study.ask

    def timed_suggest(self: Any, trial: Any) -> Any:
        start = time.perf_counter()
        found = suggest(self, trial)
        proposals.append((start, time.perf_counter() - start))
        return found

    def timed_ask(self: Any, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        trial = ask(self, *arguments, **options)
        proposals.append((start, time.perf_counter() - start))
        return trial

    def timed_tell(self: Any, *arguments: Any) -> Any:
        told = tell(self, *arguments)
        moments.append(time.perf_counter())
        return told

    searching.Space.suggest = timed_suggest  # type: ignore[method-assign]
    optuna.Study.ask = timed_ask  # type: ignore[method-assign]
    Study.tell = timed_tell  # type: ignore[method-assign]
    return proposals, moments


if __name__ == "__main__":
    main()

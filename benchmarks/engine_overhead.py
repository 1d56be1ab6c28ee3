"""The cost of the engine itself: 2,000 trials of a formula instead of a pipeline. `python -m benchmarks.engine_overhead`.

Prints, for each quarter of the trials, the milliseconds per trial without the sampler's proposal, and those of the proposal.
`--profile` prints the most expensive functions. `--sampler gp --trials 200` measures another sampler.
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
from autocompress.search import supervisor, worker_pool
from autocompress.search.supervisor import Supervisor
from autocompress.search.worker_pool import open_worker_pool
from autocompress.study import Study
from tests.formula import FormulaExecutor, open_study, plan_in, space


def main() -> None:
    """Search with the formula, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    proposals, told_at = record_times()
    with tempfile.TemporaryDirectory() as folder:
        changes = {"budget": {"trials": arguments.trials}, "engine": {"sampler": arguments.sampler}, "constraints": {}}
        study, plan = open_study(Path(folder), **changes), plan_in(Path(folder), **changes)
        worker_pool.LocalExecutor = FormulaExecutor  # type: ignore[misc, assignment]  # replaces the worker processes
        profile = cProfile.Profile()
        with study.lease(), open_worker_pool(plan, SilentDisplay(), offline=True) as pool:
            if arguments.profile:
                profile.enable()
            Supervisor(plan, study, space(), pool).run()
            profile.disable()
    print(f"sampler {arguments.sampler}, {len(told_at)} trials recorded; milliseconds per trial, mean of each quarter")
    print("| trials | engine | proposal |\n|--:|--:|--:|")
    quarter = len(told_at) // 4
    for first in range(0, 4 * quarter, quarter):
        start, end = told_at[first], told_at[min(first + quarter, len(told_at) - 1)]
        proposed = [seconds for moment, seconds in proposals if start <= moment < end]
        engine = (end - start - sum(proposed)) / quarter
        mean = sum(proposed) / max(1, len(proposed))
        print(f"| {first} to {first + quarter} | {1e3 * engine:.1f} | {1e3 * mean:.1f} |")
    if arguments.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def record_times() -> tuple[list[tuple[float, float]], list[float]]:
    """Patch sampler and study so that they record times.

    Return the moment and the seconds of each proposal, and the moment at which each trial was recorded; both lists grow
    during the search.
    """
    proposals: list[tuple[float, float]] = []
    told_at: list[float] = []
    suggest, tell, ask = supervisor.Space.suggest, Study.tell, optuna.Study.ask

    def timed_suggest(self: Any, trial: Any) -> Any:
        start = time.perf_counter()
        recipe = suggest(self, trial)
        proposals.append((start, time.perf_counter() - start))
        return recipe

    def timed_ask(self: Any, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        trial = ask(self, *arguments, **options)
        proposals.append((start, time.perf_counter() - start))
        return trial

    def timed_tell(self: Any, *arguments: Any) -> Any:
        row = tell(self, *arguments)
        told_at.append(time.perf_counter())
        return row

    supervisor.Space.suggest = timed_suggest  # type: ignore[method-assign]
    optuna.Study.ask = timed_ask  # type: ignore[method-assign]
    Study.tell = timed_tell  # type: ignore[method-assign]
    return proposals, told_at


if __name__ == "__main__":
    main()

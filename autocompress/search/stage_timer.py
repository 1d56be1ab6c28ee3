"""Time the stages of a job, and report their progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ReportProgress = Callable[[str, float], None]  # stage, fraction done


@dataclass
class StageTimer:
    """The seconds of each stage of a job, nested stages excluded."""

    report_progress: ReportProgress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time a stage; yields a function that reports the fraction of it that is done."""
        start = time.perf_counter() - sum(self.seconds.values())
        self.report_progress(name, 0.0)
        try:
            yield lambda fraction: self.report_progress(name, fraction)
        finally:
            inner = sum(self.seconds.values())
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - inner - start

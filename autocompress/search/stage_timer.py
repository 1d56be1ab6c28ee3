"""How long each stage of a job takes, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ReportProgress = Callable[[str, float], None]  # stage, fraction done


@dataclass
class StageTimer:
    """Seconds of each stage of a job, without those of stages within it."""

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

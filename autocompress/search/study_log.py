"""The log of a study: why each trial was proposed, promoted, stopped, retried or recorded as a duplicate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocompress.config import StudyPlan
from autocompress.study.connections import parse_url, sqlite_path

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def study_log_path(plan: StudyPlan) -> Path:
    """Return the file of a study's log: beside an SQLite database, else beside the artifacts' folder."""
    database = sqlite_path(parse_url(plan.storage))
    return (plan.artifacts.path.parent if database is None else database.parent) / f"{plan.study}.log"


@contextmanager
def writing_study_log(plan: StudyPlan) -> Iterator[None]:
    """Append the package's log records of level INFO and above to the study's log."""
    logger, path = logging.getLogger("autocompress"), study_log_path(plan)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.setLevel(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()

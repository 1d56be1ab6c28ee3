"""Try a database operation again while the database is locked, restarting or unreachable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import optuna
from sqlalchemy.exc import OperationalError

from autocompress.study.connections import error_reason

WAITS_SECONDS = (0.1, 0.3, 1, 3, 10, 30)  # between attempts: longer in total than a database takes to restart
RETRIED = (OperationalError, optuna.exceptions.StorageInternalError)
Value = TypeVar("Value")
log = logging.getLogger(__name__)


def with_retries(
    act: Callable[[], Value],
    waits: tuple[float, ...] = WAITS_SECONDS,
    errors: tuple[type[Exception], ...] = RETRIED,
) -> Value:
    """Call `act`, and again after a pause where it raises one of `errors`; the last attempt's error is raised."""
    for attempt, wait in enumerate(waits, 1):
        try:
            return act()
        except errors as error:
            reason = error_reason(error)
            log.info("database: %s; retry %d of %d follows in %g s", reason, attempt, len(waits), wait)
            time.sleep(wait)
    return act()

"""Show the package's log on stderr while a command runs: one plain line for each record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOGGER = "autocompress"


class _LineHandler(logging.Handler):
    """Passes each record on as one line of text."""

    def __init__(self, print_line: Callable[[str], None], level: int) -> None:
        super().__init__(level)
        self._print_line = print_line

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        self._print_line(level + " ".join(self.format(record).split()))


@contextmanager
def log_to(print_line: Callable[[str], None], *, verbose: bool, quiet: bool) -> Iterator[None]:
    """Print log records through `print_line`: WARNING and above; with `verbose` also INFO; with `quiet` only ERROR."""
    level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
    logger, handler = (
        logging.getLogger(LOGGER),
        _LineHandler(print_line, level),
    )  # a study's log may take more than this
    previous_level = logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous_level)

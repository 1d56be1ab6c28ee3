"""Sessions that only read, whose database errors become one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from autocompress.core.errors import AutocompressError, UsageError
from autocompress.study.connections import error_reason, reading_engine, shown


@contextmanager
def reading_session(url: str) -> Iterator[Session]:
    """Open a session on a study database for reading.

    UsageError where there is no database or no study in it; AutocompressError where it cannot be read.
    """
    engine = reading_engine(url)
    try:
        with Session(engine) as session:
            yield session
    except DBAPIError as error:
        raise _reading_error(error, url) from None
    finally:
        engine.dispose()


def _reading_error(error: DBAPIError, url: str) -> AutocompressError:
    if isinstance(error, (ProgrammingError, OperationalError)) and _is_missing_table(error):
        return UsageError(f"storage: no study in {shown(url)}; `autocompress search` creates one")
    if _is_missing_column(error):
        return AutocompressError(
            f"storage: {shown(url)} was written by an older autocompress; upgrade it with `autocompress storage upgrade`"
        )
    return AutocompressError(f"storage: {shown(url)} cannot be read: {error_reason(error)}")


def _is_missing_table(error: DBAPIError) -> bool:
    message = str(error.orig)
    return "no such table" in message or ("does not exist" in message and "relation" in message)


def _is_missing_column(error: DBAPIError) -> bool:
    message = str(error.orig)
    return "no such column" in message or ("does not exist" in message and "column" in message)

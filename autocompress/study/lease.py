"""One supervisor per study: a lease in the database, kept by a beat, and taken over when its holder is dead."""

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from autocompress.core.errors import AutocompressError
from autocompress.study.queries import STALE_SECONDS
from autocompress.study.tables import StudyRow

BEAT_SECONDS = 2.0


class Lease:
    """Held by one process at a time, between `take` and `release`.

    A lease whose holder's process is gone from this machine is taken over at once; one from elsewhere, or whose
    process cannot be looked at, when its beat is older than 20 s. A holder that lost its lease (it slept, or its
    database was away for long) notices at its next write.
    """

    def __init__(self, engine: Engine, ac_study_id: int, name: str) -> None:
        self._engine, self._id, self._name = engine, ac_study_id, name
        self._owner = ""
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take the lease and keep it; AutocompressError where another process holds it."""
        now = time.time()
        with Session(self._engine) as session, session.begin():
            study = session.scalars(select(StudyRow).where(StudyRow.id == self._id).with_for_update()).one()
            if study.owner is not None and is_alive(study.owner_process or {}, study.beat or 0.0, now):
                raise AutocompressError(_held(self._name, study))
            self._owner, self._end = uuid.uuid4().hex, threading.Event()
            study.owner, study.owner_process = self._owner, this_process()
            study.owner_since = study.beat = now
            study.runs += 1
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the lease back; nothing where it was lost."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        with Session(self._engine) as session, session.begin():
            mine = update(StudyRow).where(StudyRow.id == self._id, StudyRow.owner == self._owner)
            session.execute(mine.values(owner=None, owner_process=None, beat=None))

    def check(self, session: Session) -> None:
        """Refuse to write where another supervisor has taken over; part of the writing transaction."""
        owner = session.scalar(select(StudyRow.owner).where(StudyRow.id == self._id))
        if owner != self._owner:
            raise AutocompressError(
                f"study {self._name}: another search has taken it over, because this one did not answer for"
                f" {STALE_SECONDS:.0f} s; what was finished is stored"
            )

    def _keep(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            with suppress(Exception), Session(self._engine) as session, session.begin():  # the database may be away
                mine = update(StudyRow).where(StudyRow.id == self._id, StudyRow.owner == self._owner)
                session.execute(mine.values(beat=time.time()))


def this_process() -> dict[str, Any]:
    """What tells this process from every other: a random name of the machine's boot, process number and start."""
    return {"boot": _boot(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_alive(process: dict[str, Any], beat: float, now: float) -> bool:
    """Whether a lease is to be respected."""
    if process.get("boot") == _boot() and not _exists(int(process["pid"]), float(process["started"])):
        return False
    return now - beat < STALE_SECONDS


def _exists(pid: int, started: float) -> bool:
    """Whether that very process runs; a zombie does not, nor does a later process with its number."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _boot() -> str:
    """Random per boot and, in containers, per process namespace: process numbers mean something only within."""
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {namespace}"
    return f"boot at {psutil.boot_time():.0f}"


def _held(name: str, study: StudyRow) -> str:
    since = datetime.fromtimestamp(study.owner_since or 0.0).astimezone()
    pid = (study.owner_process or {}).get("pid")
    return (
        f"study {name} has been searched by another process (number {pid}) since {since:%Y-%m-%d %H:%M:%S};"
        f" stop that one first, or, if it died on another machine, wait {STALE_SECONDS:.0f} s"
    )

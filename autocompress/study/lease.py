"""One supervisor per study: a lease in the database with a heartbeat. It is taken over after its holder has ended."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path

import psutil
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from autocompress.core.errors import AutocompressError
from autocompress.core.json_types import Json
from autocompress.study.connections import error_reason
from autocompress.study.tables import STALE_SECONDS, StudyRow

BEAT_SECONDS = 2.0
log = logging.getLogger(__name__)


class Lease:
    """Held by one process at a time, between `take` and `release`.

    The lease of a process that ended on this machine is taken over at once. The lease of a process on another machine, or of
    one that cannot be inspected, is taken over when its heartbeat is older than 20 s. A holder that lost its lease (it was
    suspended, or its database was unreachable for long) notices at its next write.
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
                raise AutocompressError(_describe_holder(self._name, study))
            self._owner, self._end = uuid.uuid4().hex, threading.Event()
            study.owner, study.owner_process = self._owner, this_process()
            study.owner_since = study.beat = now
            study.runs += 1
        self._thread = threading.Thread(target=self._keep_beating, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Release the lease; do nothing where it was lost."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        with Session(self._engine) as session, session.begin():
            held = update(StudyRow).where(StudyRow.id == self._id, StudyRow.owner == self._owner)
            session.execute(held.values(owner=None, owner_process=None, beat=None))

    def check(self, session: Session) -> None:
        """Raise AutocompressError where another supervisor has taken over; call it within each writing transaction."""
        owner = session.scalar(select(StudyRow.owner).where(StudyRow.id == self._id))
        if owner != self._owner:
            raise AutocompressError(
                f"study {self._name}: another search has taken it over, because this one wrote no heartbeat for"
                f" {STALE_SECONDS:.0f} s; finished trials are stored"
            )

    def _keep_beating(self) -> None:
        """Write heartbeats until the lease is released; log the begin and the end of an outage of the database."""
        failing = False
        while not self._end.wait(BEAT_SECONDS):
            try:
                self._beat()
            except Exception as error:  # of any kind, by driver: the next heartbeat may succeed
                if not failing:
                    reason = f"{type(error).__name__}: {error_reason(error)}"
                    log.warning("study %s: the heartbeat of its lease cannot be written: %s", self._name, reason)
                failing = True
            else:
                if failing:
                    log.info("study %s: the heartbeat of its lease is written again", self._name)
                failing = False

    def _beat(self) -> None:
        with Session(self._engine) as session, session.begin():
            held = update(StudyRow).where(StudyRow.id == self._id, StudyRow.owner == self._owner)
            session.execute(held.values(beat=time.time()))


def this_process() -> Json:
    """Return what identifies this process: the machine's boot, the process number and its start time."""
    return {"boot": _boot_id(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_alive(process: Json, beat: float, now: float) -> bool:
    """Return whether the holder of a lease is alive: its process on this machine, and its heartbeat."""
    if process.get("boot") == _boot_id() and not _is_running(int(process["pid"]), float(process["started"])):
        return False
    return now - beat < STALE_SECONDS


def _is_running(pid: int, started: float) -> bool:
    """Return whether that very process runs; not a zombie, nor a later process with its number."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 1)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _boot_id() -> str:
    """Return a text unique per boot and, in containers, per process namespace: process numbers are valid only within it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {namespace}"
    except OSError as error:
        log.debug("no boot identifier in /proc (%s); the boot time is used", error)
        return f"boot at {psutil.boot_time():.0f}"


def _describe_holder(name: str, study: StudyRow) -> str:
    since = datetime.fromtimestamp(study.owner_since or 0.0).astimezone()
    pid = (study.owner_process or {}).get("pid")
    return (
        f"study {name}: process {pid} has been searching it since {since:%Y-%m-%d %H:%M:%S}; stop that process first,"
        f" or, if it died on another machine, wait {STALE_SECONDS:.0f} s"
    )

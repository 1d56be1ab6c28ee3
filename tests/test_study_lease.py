"""The lease: one supervisor at a time, taken over from a dead one, with logged outages of the database."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
import time

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from autocompress.core.errors import AutocompressError
from autocompress.study import lease as lease_module
from autocompress.study.retries import with_retries
from tests.databases import execute
from tests.formula import outcome_of, teacher_outcome
from tests.toy_study import ToyStudy, wait_for


def test_lease_admits_one_supervisor(toy: ToyStudy) -> None:
    with toy.process("sleep") as process:
        wait_for(process, "leased", 1)
        study = toy.open()
        with (
            pytest.raises(AutocompressError, match=rf"toy: process {process.pid} has been searching it since 20"),
            study.lease(),
        ):
            pass
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with study.lease():
            assert toy.view().running
    assert not toy.view().running


def test_supervisor_without_its_lease_cannot_write(toy: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    suspended, successor = toy.open(), toy.open()
    with suspended.lease():
        suspended.record_teacher(teacher_outcome())
        asked = suspended.ask()
        monkeypatch.setattr(lease_module, "is_alive", lambda *_: False)  # its heartbeat is stale
        with successor.lease():
            with pytest.raises(AutocompressError, match="taken it over"):
                suspended.tell(asked.number, asked.recipe, outcome_of(asked.recipe))
            assert successor.ask().retry
    assert toy.view().row(asked.number).state == "failed"


def test_lease_of_another_machine_ends_with_its_heartbeat() -> None:
    holder = {"boot": "another machine", "pid": 1, "started": 0.0}
    assert lease_module.is_alive(holder, beat=100.0, now=119.0)
    assert not lease_module.is_alive(holder, beat=100.0, now=121.0)
    this_process = lease_module.this_process()
    assert lease_module.is_alive(this_process, beat=100.0, now=101.0)
    assert not lease_module.is_alive(
        {**this_process, "started": 0.0}, beat=100.0, now=101.0
    )  # a later process has its number


def test_lease_logs_an_outage_once_and_its_end(
    toy: ToyStudy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outage, beats = threading.Event(), itertools.count()

    def open_session(engine: Engine) -> Session:
        if threading.current_thread().name == "lease":
            next(beats)
            if outage.is_set():
                raise OperationalError("UPDATE", {}, Exception("server closed the connection\ndetails"))
        return Session(engine)

    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease_module, "Session", open_session)
    with caplog.at_level(logging.INFO, lease_module.__name__), toy.open().lease():
        for state in (outage.set, outage.clear, outage.set, outage.clear):
            state()
            wait_for_beats(beats, 5)
        thread = next(thread for thread in threading.enumerate() if thread.name == "lease")
        assert thread.is_alive()
    assert [(record.levelname, record.message) for record in caplog.records] == 2 * [
        (
            "WARNING",
            "study toy: the heartbeat of its lease cannot be written: OperationalError: server closed the connection",
        ),
        ("INFO", "study toy: the heartbeat of its lease is written again"),
    ]


def wait_for_beats(beats: itertools.count[int], number: int) -> None:
    """Wait until the lease's thread has tried that many heartbeats more."""
    last = next(beats) + number
    while next(beats) < last:
        time.sleep(0.02)


def test_lost_lease_is_logged_at_the_end(toy: ToyStudy, caplog: pytest.LogCaptureFixture) -> None:
    study = toy.open()
    with study.lease():
        study.record_teacher(teacher_outcome())
        study.ask()
        execute(toy.url, "UPDATE ac_studies SET owner = 'successor'")
    assert "running trials are not settled here: study toy: another search has taken it over" in caplog.text


def test_with_retries_logs_each_retry_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    failures = [
        OperationalError("SELECT", {}, Exception(reason)) for reason in ("database is locked", "disk I/O error")
    ]

    def act() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    with caplog.at_level(logging.INFO, "autocompress.study.retries"):
        assert with_retries(act, waits=(0.0, 0.0, 0.0)) == "done"
    assert [record.message for record in caplog.records] == [
        "database: database is locked; retry 1 of 3 follows in 0 s",
        "database: disk I/O error; retry 2 of 3 follows in 0 s",
    ]

"""A study in an open database: our rows, in transactions that the lease guards, and Optuna's study."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import optuna
from sqlalchemy.orm import Session

from autocompress.config import StudyPlan
from autocompress.study.lease import Lease
from autocompress.study.lifecycle import OpenedStudy
from autocompress.study.retries import with_retries
from autocompress.study.tables import StudyRow

Value = TypeVar("Value")


class StudyConnection:
    """The database of one study, as the parts of `Study` share it. Not meant for several threads."""

    def __init__(self, plan: StudyPlan, opened: OpenedStudy) -> None:
        self.plan = plan
        self.constraints = plan.constraints.model_dump()
        self.ac_id, self.engine = opened.ac_id, opened.storage.engine
        self.lease = Lease(self.engine, self.ac_id, plan.study)
        self._rdb_storage = opened.storage
        self.optuna_study = optuna.load_study(study_name=plan.study, storage=opened.storage)
        self.running: dict[int, optuna.Trial] = {}  # trials that were asked and whose outcome is not recorded yet

    @property
    def optuna_storage(self) -> optuna.storages.BaseStorage:
        """Return the storage of Optuna's study, which caches finished trials."""
        return self.optuna_study._storage

    @property
    def optuna_id(self) -> int:
        """Return the number of Optuna's study."""
        return self.optuna_study._study_id

    def use_sampler(self, sampler: optuna.samplers.BaseSampler) -> None:
        """Load Optuna's study again, with this sampler."""
        self.optuna_study = optuna.load_study(study_name=self.plan.study, storage=self._rdb_storage, sampler=sampler)

    def study_row(self, session: Session) -> StudyRow:
        """Return the row of the study."""
        return session.get_one(StudyRow, self.ac_id)

    def read(self, act: Callable[[Session], Value]) -> Value:
        """Run `act` in a transaction, again where the database is busy; the lease need not be held."""
        return self._transact(act, checks_lease=False)

    def write(self, act: Callable[[Session], Value]) -> Value:
        """Run `act` in a transaction, again where the database is busy; AutocompressError where the lease is not held."""
        return self._transact(act, checks_lease=True)

    def write_without_lease(self, act: Callable[[Session], Value]) -> Value:
        """Run `act` in a transaction, again where the database is busy, also while another process holds the lease."""
        return self._transact(act, checks_lease=False)

    def _transact(self, act: Callable[[Session], Value], checks_lease: bool) -> Value:
        """Run one transaction of ours; `act` never calls Optuna, which would wait for the transaction's end."""

        def transaction() -> Value:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                if checks_lease:
                    self.lease.check(session)
                return act(session)

        return with_retries(transaction)

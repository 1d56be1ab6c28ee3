"""Write the study file of a successor: the same study with a better teacher, in the same database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from autocompress.config import StudyPlan
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.json_types import Json
from autocompress.core.teacher_warning import successor_name
from autocompress.study import StudyView

LONGER = 2  # times as long as before a search for settings may take


def write_successor(file: Path, plan: StudyPlan, view: StudyView) -> Path | None:
    """Write the successor's study file beside `file`, and return it; null where no better teacher is in sight.

    Given settings become `fine_tune: auto`; a search for settings gets twice its time. A file that exists already is returned
    as it is, so that the successor can be continued.
    """
    fine_tune = _better_settings(view.plan["teacher"].get("fine_tune"))
    if not view.warnings or fine_tune is None:
        return None
    name = successor_name(plan.study)
    target = file.with_name(f"{name}{file.suffix}")
    if target.exists():
        return target
    document = read_mapping(file, "study file")
    document["study"] = name
    document["teacher"] = {key: value for key, value in document["teacher"].items() if key != "improve"}
    document["teacher"]["fine_tune"] = fine_tune
    document.setdefault("storage", f"sqlite:///{plan.study}/study.db")
    artifacts = document.get("artifacts")
    if isinstance(artifacts, dict) and artifacts.get("path"):
        artifacts["path"] = f"{artifacts['path']}-{name}"
    reasons = "".join(f"# {warning.finding}.\n" for warning in view.warnings)
    head = f"# The study {plan.study} with a better teacher, because:\n{reasons}"
    target.write_text(head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def _better_settings(fine_tune: Mapping[str, object] | None) -> str | Json | None:
    """Return the settings of a better fine-tuning than these; null where a search without a time limit found these."""
    known = {key: value for key, value in (fine_tune or {}).items() if value is not None}
    kept = {"silver_pairs": known["silver_pairs"]} if "silver_pairs" in known else {}
    if not known.get("auto"):
        return {"auto": True, **kept} if kept else "auto"
    seconds = known.get("time")
    return {"auto": True, "time": f"{LONGER * seconds:.0f}s", **kept} if isinstance(seconds, int | float) else None

"""The study file, validated before any work starts: a `StudyPlan` says everything about a study, and never changes.

Modules: schema (every key, its default and its rule) and parts (what its mappings share), reading (file, overrides,
defaults), wording (what was wrong, in one sentence), documents (YAML, strictly), paths (what a name in the file stands
for), storage (which database it is).
Needs pydantic and PyYAML only, so that reading a study is instant.
"""

from __future__ import annotations

from autocompress.plan.documents import value_at
from autocompress.plan.parts import Scalar, seconds
from autocompress.plan.paths import spaces
from autocompress.plan.reading import read_as_begun, read_plan
from autocompress.plan.schema import (
    LAST_RUNG,
    OBJECTIVES,
    Artifacts,
    Budget,
    Columns,
    Constraints,
    Data,
    Device,
    Engine,
    FineTune,
    HubData,
    Recovery,
    Source,
    StudyPlan,
    Task,
    Teacher,
)
from autocompress.plan.storage import StoredStudy, check_folder, check_storage, storage_of, storage_url, study_file

__all__ = [
    "LAST_RUNG",
    "OBJECTIVES",
    "Artifacts",
    "Budget",
    "Columns",
    "Constraints",
    "Data",
    "Device",
    "Engine",
    "FineTune",
    "HubData",
    "Recovery",
    "Scalar",
    "Source",
    "StoredStudy",
    "StudyPlan",
    "Task",
    "Teacher",
    "check_folder",
    "check_storage",
    "read_as_begun",
    "read_plan",
    "seconds",
    "spaces",
    "storage_of",
    "storage_url",
    "study_file",
    "value_at",
]

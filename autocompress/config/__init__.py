"""The study file, validated before any work starts: a `StudyPlan` says everything about a study, and never changes.

Modules: schema (every key, its default and its rule) and parts (what its mappings share), reading (file, overrides,
defaults), wording (what was wrong, in one sentence), documents (YAML, strictly), paths (what a name in the file stands
for), storage (which database it is).
Needs pydantic and PyYAML only, so that reading a study is instant.
"""

from __future__ import annotations

from autocompress.config.paths import spaces
from autocompress.config.reading import read_as_begun, read_plan
from autocompress.config.schema import (
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
from autocompress.config.section import Scalar, seconds
from autocompress.config.storage_url import (
    StoredStudy,
    check_folder,
    check_storage,
    storage_of,
    storage_url,
    study_file,
)
from autocompress.config.yaml_documents import value_at

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

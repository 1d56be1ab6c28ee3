"""The study file, validated before any work starts: from a file to a `StudyPlan`, which never changes.

Imports pydantic and PyYAML only, so that reading a study is fast.
"""

from __future__ import annotations

from autocompress.config.plan import StudyPlan
from autocompress.config.reading import read_as_begun, read_plan
from autocompress.config.sections import (
    LAST_RUNG,
    ArtifactSettings,
    AutoFineTune,
    Budget,
    Constraints,
    Data,
    Device,
    Engine,
    FineTune,
    HubData,
    Recovery,
    Source,
    Task,
    Teacher,
)
from autocompress.config.space_files import spaces
from autocompress.config.storage_url import (
    StoredStudy,
    check_folder,
    check_storage,
    storage_of,
    storage_url,
    study_file,
)
from autocompress.config.study_file import OBJECTIVES, StudyFile
from autocompress.config.validation import Scalar, parse_duration
from autocompress.config.yaml_documents import value_at

__all__ = [
    "LAST_RUNG",
    "OBJECTIVES",
    "ArtifactSettings",
    "AutoFineTune",
    "Budget",
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
    "StudyFile",
    "StudyPlan",
    "Task",
    "Teacher",
    "check_folder",
    "check_storage",
    "parse_duration",
    "read_as_begun",
    "read_plan",
    "spaces",
    "storage_of",
    "storage_url",
    "study_file",
    "value_at",
]

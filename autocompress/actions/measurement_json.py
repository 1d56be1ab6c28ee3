"""Write `measurement.json`, the measurements beside an exported model, for programs.

It holds no path, host name, user name or row of the user's data; the teacher appears by its base name only.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from autocompress import __version__
from autocompress.actions.card_data import CardData

FORMAT_VERSION = 1


def measurement_json(data: CardData) -> str:
    """Return the text of `measurement.json`: the row, validation and test quality, latency, and the conditions."""
    teacher, task = data.view.teacher, data.view.plan["task"]
    other_devices = data.details.outcome.other_devices
    values = {
        "format_version": FORMAT_VERSION,
        "autocompress": __version__,
        "study": data.view.name,
        "trial": data.row.trial,
        "form": data.form,
        "artifact_sha256": data.row.sha256 if data.form == "onnx" else None,
        "task": {"kind": task["kind"], "metric": data.metric, "max_tokens": task["max_tokens"]},
        "teacher": {
            "model": data.teacher,
            **{name: getattr(teacher, name, None) for name in ("quality", "test_quality", "latency_ms", "size_mb")},
        },
        "row": data.row.as_json(),
        "measurement": data.measurement.as_dict(),
        "elsewhere": {device: measurement.as_dict() for device, measurement in other_devices.items()},
        "test": asdict(data.details.test) if data.details.test else None,
        "facts": data.details.outcome.facts,
    }
    return json.dumps(values, indent=2, allow_nan=False) + "\n"

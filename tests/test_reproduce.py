"""Reproducing a trial: the same predictions with the same data, an error with other data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from autocompress.actions.locate import locate
from autocompress.interfaces.cli import main
from tests.conftest import Searched


@pytest.mark.slow
def test_reproduce_gives_the_same_predictions(searched: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    view = locate(str(searched.file), None).view()
    trial = view.front[-1].trial
    code = main(["reproduce", str(searched.file), "--trial", str(trial), "--offline", "--json"])
    document = json.loads(capsys.readouterr().out)
    checks = {check["what"]: check for check in document["checks"]}
    for what in ("the teacher's model", "the model", "predictions on validation", "predictions on test", "size, MB"):
        assert checks[what]["before"] == checks[what]["now"], document
    assert document["changed"] == []
    assert code == (0 if document["reproduced"] else 1)  # the speed-up may differ: other tests run at the same time
    assert locate(str(searched.file), None).view() == view  # the study is unchanged


@pytest.mark.slow
def test_reproduce_rejects_changed_data(searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    (folder / "data" / "test.csv").write_text("text,label\none,0\nother,1\n")
    assert main(["reproduce", str(folder / "tiny.yaml"), "--trial", "0", "--offline"]) in (1, 2)
    assert "reproduced" not in capsys.readouterr().out

"""The package's log on stderr: by default warnings, with -v also information, with -q errors only, one line each."""

from __future__ import annotations

import logging

import pytest

from autocompress.actions import inventory
from autocompress.interfaces.cli import main

WARNING, INFO, ERROR = "warning: disk is slow", "trial 3 was promoted: it may enter the front", "error: a worker died"


@pytest.fixture
def logging_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `list` log a record of each level, one of them in two lines."""
    log = logging.getLogger("autocompress.search.supervisor")

    def list_entries(kind: str) -> list[inventory.Entry]:
        log.debug("asked for %s", kind)
        log.info("trial %d was promoted:\n  it may enter the front", 3)
        log.warning("disk is slow")
        log.error("a worker died")
        return []

    monkeypatch.setattr(inventory, "list_entries", list_entries)


@pytest.mark.usefixtures("logging_command")
@pytest.mark.parametrize(
    ("options", "lines"),
    [([], [WARNING, ERROR]), (["-v"], [INFO, WARNING, ERROR]), (["-q"], [ERROR]), (["-q", "-v"], [ERROR])],
)
def test_log_level_follows_the_options(
    options: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "tasks", "--json", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == lines
    assert captured.out == '{\n  "tasks": []\n}\n'


@pytest.mark.usefixtures("logging_command")
def test_log_of_other_packages_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tasks", "-v"]) == 0
    logging.getLogger("transformers.of_a_test").info("loading weights")
    assert "loading" not in capsys.readouterr().err


@pytest.mark.usefixtures("logging_command")
def test_logger_is_restored_after_a_command() -> None:
    logger = logging.getLogger("autocompress")
    before = logger.level, list(logger.handlers)
    assert main(["list", "tasks", "-v"]) == 0
    assert (logger.level, logger.handlers) == before

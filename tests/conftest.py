"""What several test files share: one tiny study that was really searched, once for all test processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from autocompress.core.stage import Stage
from autocompress.storage.artifact_store import Store
from tests.databases import postgresql_server, storage_url
from tests.tiny import tiny_study
from tests.toy_study import begun, searched_toy, toy

__all__ = ["begun", "postgresql_server", "searched_toy", "storage_url", "toy"]  # fixtures of every test file

ROOT = Path(__file__).parents[1]

# `evaluate` copies the module of a metric into a folder and imports it there; test processes must not share that folder.
# (This file is imported under two names; the folder must stay the one that was read first.)
if os.environ.get("METRICS_CACHE_OF") != str(os.getpid()):
    os.environ |= {"METRICS_CACHE_OF": str(os.getpid()), "HF_MODULES_CACHE": tempfile.mkdtemp(prefix="metrics-")}
os.environ["HF_HUB_OFFLINE"] = "1"
# One thread a process, read when torch is loaded: threads that spin beside busy cores slow a tiny training tenfold.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
os.environ["AUTOCOMPRESS_PATIENCE"] = "0"  # tests run on all cores at once: no latency is worth waiting for


@dataclass(frozen=True)
class Searched:
    """A folder with a finished study, and what its search printed. Tests do not change it."""

    folder: Path
    file: Path
    out: str
    err: str


def run_cli(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; its exit code must be `code`."""
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "autocompress", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that all test processes of this run share: what takes long is built once, by one of them."""
    base = tmp_path_factory.getbasetemp()  # of this process, beside those of the others where there are several
    return Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "together")


@pytest.fixture(scope="session")
def searched(together: Store, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """This process's copy of a tiny BERT, fine-tuned, and four candidates of it, deployed and measured."""
    built = together.stage(Stage("searched", 1), _search)
    folder = tmp_path_factory.mktemp("searched") / "study"
    shutil.copytree(built / "study", folder)
    out, err = ((built / name).read_text(encoding="utf-8") for name in ("out.txt", "err.txt"))
    return Searched(folder, folder / "tiny.yaml", out, err)


def _search(folder: Path) -> None:
    """Fill a folder with a searched study and what its search printed."""
    space = {"depth": [1, 2], "head_sparsity": 0.5, "ffn_sparsity": 0.5, "weight_bits": [32, 8]}
    file = tiny_study(folder / "study", space=space, budget={"trials": 4}, constraints={"max_drop": 0.5})
    done = run_cli("search", file.name, cwd=file.parent)
    (folder / "out.txt").write_text(done.stdout, encoding="utf-8")
    (folder / "err.txt").write_text(done.stderr, encoding="utf-8")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder of its own with the studies that an earlier version wrote (see `test_stored_studies`)."""
    with tarfile.open(Path(__file__).parent / "data" / "stored_studies.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path

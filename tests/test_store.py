"""The store: content-addressed artifacts and stage results, built once and never incomplete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autocompress.core.stage import Stage
from autocompress.storage.artifact_store import ArtifactStore, Store, sibling_stores
from tests.contracts.artifact_store import ArtifactStoreContract


class TestStore(ArtifactStoreContract):
    def open_store(self, folder: Path) -> ArtifactStore:
        return Store(folder)


def test_a_stage_is_built_once_for_equal_inputs(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []

    def build(folder: Path) -> None:
        calls.append(1)
        write(folder, "x", "1")

    first = store.stage(Stage("teacher", 1, {"a": 1, "b": 2}), build)
    assert store.stage(Stage("teacher", 1, {"b": 2, "a": 1}), build) == first
    assert store.stage(Stage("teacher", 1, {"a": 1, "b": 3}), build) != first
    assert len(calls) == 2
    assert store.has_stage(Stage("teacher", 1, {"a": 1, "b": 2}))


def test_stage_links_the_result_of_a_sibling_store(tmp_path: Path) -> None:
    theirs = Store(tmp_path / "first" / "artifacts")
    made = theirs.stage(Stage("supernet", 1, {"a": 1}), lambda folder: write(folder, "x", "weights"))
    root = tmp_path / "second" / "artifacts"
    mine = Store(root, sibling_stores(root))
    assert mine.has_stage(Stage("supernet", 1, {"a": 1})) and not mine.has_stage(Stage("supernet", 1, {"a": 2}))
    assert mine.stages("supernet") == {made.name: {"format": 2, "version": 1, "a": 1}}

    def never(folder: Path) -> None:
        raise AssertionError("it is there already")

    linked = mine.stage(Stage("supernet", 1, {"a": 1}), never)
    assert linked.is_relative_to(root) and (linked / "x").samefile(made / "x")
    shutil.rmtree(theirs.root)
    assert (linked / "x").read_text() == "weights"
    built = mine.stage(Stage("supernet", 1, {"a": 2}), lambda folder: write(folder, "x", "others"))
    assert (built / "x").read_text() == "others"


def test_two_processes_build_a_stage_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from autocompress.core.stage import Stage; from autocompress.storage.artifact_store import Store\n"
        "def build(folder):\n"
        "    time.sleep(0.5); (folder / 'x').write_text(sys.argv[2]); print('built', flush=True)\n"
        "print(Store(Path(sys.argv[1])).stage(Stage('targets', 1), build) / 'x')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("one", "two")]
    printed = [process.communicate()[0] for process in both]
    assert sum("built" in text for text in printed) == 1


def test_failed_build_leaves_no_files(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def build(folder: Path) -> None:
        write(folder, "x", "half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        store.stage(Stage("recovered", 1), build)
    assert not store.has_stage(Stage("recovered", 1))
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != ".locks"] == []


def test_shrink_removes_least_recently_used_entries(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shas = [store.add_artifact(lambda folder, n=n: write(folder, "x", str(n) * 1000)) for n in range(4)]
    for age, sha in enumerate(reversed(shas)):
        os.utime(store.artifact(sha), (age, age))  # the last one made is the oldest in use
    store.shrink(2500, keep=[shas[3]])
    assert [sha for sha in shas if store.has_artifact(sha)] == [shas[0], shas[3]]
    assert store.size_bytes() == 2000


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)

"""What a study relies on in an artifact store: real folders, also while several threads write."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from autocompress.core.stage import digest
from autocompress.storage.artifact_store import ArtifactStore
from autocompress.storage.checksums import manifest

BYTES = 1000  # of each model
PAUSE = 0.02  # seconds between two additions, more than a file system's clock resolves


class ArtifactStoreContract(ABC):
    """The tests of an artifact store. A subclass opens it; two stores that are opened for one folder are one store."""

    @abstractmethod
    def open_store(self, folder: Path) -> ArtifactStore:
        """Open the store that belongs to a folder of the test; its content may lie elsewhere."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        return self.open_store(tmp_path)

    def test_an_artifact_is_found_by_the_sha256_of_its_manifest(self, store: ArtifactStore) -> None:
        sha256 = store.add_artifact(write_model("a"))
        assert store.has_artifact(sha256)
        assert digest(manifest(store.artifact(sha256))) == sha256
        assert (store.artifact(sha256) / "parts" / "model.onnx").read_text() == "a" * BYTES

    def test_equal_content_is_one_artifact(self, store: ArtifactStore) -> None:
        first, again, other = (store.add_artifact(write_model(letter)) for letter in "aab")
        assert first == again != other
        assert store.has_artifact(first) and store.has_artifact(other)

    def test_an_unknown_artifact_has_no_folder(self, store: ArtifactStore) -> None:
        unknown = "0" * 64
        assert not store.has_artifact(unknown)
        assert not store.artifact(unknown).exists()

    def test_a_failed_build_stores_nothing(self, store: ArtifactStore, tmp_path: Path) -> None:
        def fail(folder: Path) -> None:
            write_model("a")(folder)
            raise RuntimeError("power cut")

        with pytest.raises(RuntimeError, match="power cut"):
            store.add_artifact(fail)
        write_model("a")(tmp_path / "same")
        assert not store.has_artifact(digest(manifest(tmp_path / "same")))

    def test_artifacts_stay_when_the_store_is_opened_again(self, store: ArtifactStore, tmp_path: Path) -> None:
        sha256 = store.add_artifact(write_model("a"))
        again = self.open_store(tmp_path)
        assert again.has_artifact(sha256)
        assert digest(manifest(again.artifact(sha256))) == sha256

    def test_equal_content_may_be_added_at_the_same_time(self, store: ArtifactStore) -> None:
        barrier = Barrier(4)

        def build(folder: Path) -> None:
            write_model("a")(folder)
            barrier.wait(timeout=60)  # all have written before one is stored

        with ThreadPoolExecutor(4) as threads:
            hashes = set(threads.map(lambda _: store.add_artifact(build), range(4)))
        (sha256,) = hashes
        assert digest(manifest(store.artifact(sha256))) == sha256

    def test_shrink_removes_the_oldest_first_and_never_what_is_kept(self, store: ArtifactStore) -> None:
        hashes = []
        for letter in "abcd":
            hashes.append(store.add_artifact(write_model(letter)))
            time.sleep(PAUSE)
        store.shrink(4 * BYTES, keep=[])
        assert [store.has_artifact(sha256) for sha256 in hashes] == [True] * 4
        store.shrink(2.5 * BYTES, keep=[hashes[0]])
        assert [store.has_artifact(sha256) for sha256 in hashes] == [True, False, False, True]
        store.shrink(0, keep=[hashes[0]])
        assert [store.has_artifact(sha256) for sha256 in hashes] == [True, False, False, False]


def write_model(letter: str) -> Callable[[Path], None]:
    """Return a function that writes a model of 1,000 equal letters into a folder."""

    def write(folder: Path) -> None:
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        (folder / "parts" / "model.onnx").write_text(letter * BYTES)

    return write

"""Made rows of the peers benchmark."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.peer_recipes import PICKED, REFERENCE
from benchmarks.peers_records import Row


def row_of(
    peer: str, speedup: float, *, drop: float = 0.0, size_mb: float = 20.0, name: str = "trec", seed: int = 0
) -> Row:
    return Row(set=name, seed=seed, peer=peer, accuracy=0.9 - drop, drop=drop, drop_interval=(drop - 0.01, drop + 0.01),
               size_mb=size_mb, speedup=speedup, latency_ms=4 / speedup, text_ms=5 / speedup, text_speedup=speedup,
               seconds=60.0, machine={"cpu": "a CPU", "cpu_flags": ["avx2"]})  # fmt: skip


def complete_rows(name: str = "trec", seed: int = 0) -> list[Row]:
    made = [
        row_of(REFERENCE, 1.0, size_mb=90),
        row_of(PICKED, 20.0, size_mb=8),
        row_of("nncf_int8", 3.2),
        row_of("onnxruntime_int8", 2.6),
        row_of("torch_pruning_int8", 10.0, drop=0.005, size_mb=9),
        row_of("tfidf", 100.0, drop=0.08, size_mb=1),
    ]
    return [replace(row, set=name, seed=seed) for row in made]

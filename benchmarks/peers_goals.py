"""What we want of the picked models beside their peers, computed from the rows.

On at least 3 of 4 sets, the model as picked loses at most 1 point on test, is 5 times as fast as the best training-free peer,
and 1.5 times as fast as the best transformer of any kind without being larger than that one. On sst2 and trec it is 15 times as
fast as fp32 onnxruntime. The best peer is the fastest one that loses at most 1 point, too. Values are medians over seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.peer_recipes import PICKED, REFERENCE, Kind
from benchmarks.peers_records import COUNTED, SEEDS, Row

MAX_DROP = 0.01
TRAINING_FREE_GOAL, TRANSFORMER_GOAL, FP32_GOAL = 5.0, 1.5, 15.0  # times as fast
FP32_SETS = ("sst2", "trec")
NEEDED_SETS = 3


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """The picked model of one seed beside the best peers."""

    drop: float
    speedup: float  # over the fp32 teacher on onnxruntime
    over_training_free: float
    over_transformers: float
    size_share: float  # its size ÷ that of the best transformer
    best_training_free: str
    best_transformer: str


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """The results of a set; seeds without a picked model are lost."""

    name: str
    seeds: tuple[SeedResult, ...]
    lost_seeds: int

    def median(self, name: str) -> float:
        """Return the median of a number over the seeds."""
        return float(statistics.median(getattr(seed, name) for seed in self.seeds))

    @property
    def is_met(self) -> bool:
        """Whether the goals of a counted set are met, with a picked model in every seed."""
        return (
            bool(self.seeds)
            and not self.lost_seeds
            and self.median("drop") <= MAX_DROP
            and self.median("over_training_free") >= TRAINING_FREE_GOAL
            and self.median("over_transformers") >= TRANSFORMER_GOAL
            and self.median("size_share") <= 1.0
        )

    @property
    def is_fp32_met(self) -> bool:
        """Whether the speed-up over fp32 onnxruntime is reached."""
        return bool(self.seeds) and self.median("speedup") >= FP32_GOAL


def judge_set(name: str, rows: Iterable[Row], kinds: Mapping[str, Kind]) -> SetResult:
    """Compare the picked models of a set with their peers, seed by seed; a seed counts once its picked model has a row."""
    by_seed: dict[int, dict[str, Row]] = {}
    for row in rows:
        if row.set == name:
            by_seed.setdefault(row.seed, {})[row.peer] = row
    complete = [peers for _, peers in sorted(by_seed.items()) if PICKED in peers]
    results = [judge_seed(peers, kinds) for peers in complete if peers[PICKED].speedup is not None]
    return SetResult(name=name, seeds=tuple(results), lost_seeds=sum(peers[PICKED].is_lost for peers in complete))


def judge_seed(peers: Mapping[str, Row], kinds: Mapping[str, Kind]) -> SeedResult:
    """Compare the picked model of one seed with the best training-free peer and the best transformer."""
    picked = peers[PICKED]
    training_free = find_best(peers, ("training-free",), kinds)
    transformer = find_best(peers, ("training-free", "trained"), kinds)
    assert picked.speedup and picked.drop is not None and picked.size_mb
    assert training_free.speedup and transformer.speedup and transformer.size_mb
    return SeedResult(
        drop=picked.drop,
        speedup=picked.speedup,
        over_training_free=picked.speedup / training_free.speedup,
        over_transformers=picked.speedup / transformer.speedup,
        size_share=picked.size_mb / transformer.size_mb,
        best_training_free=training_free.peer,
        best_transformer=transformer.peer,
    )


def find_best(peers: Mapping[str, Row], wanted: tuple[Kind, ...], kinds: Mapping[str, Kind]) -> Row:
    """Return the fastest row of these kinds that loses at most 1 point; the teacher's where there is none."""
    allowed = [
        row
        for row in peers.values()
        if (kinds[row.peer] in wanted or row.peer == REFERENCE)
        and row.speedup is not None
        and row.drop is not None
        and row.drop <= MAX_DROP
    ]
    return max(allowed, key=lambda row: row.speedup or 0.0)


def describe_goals(results: Mapping[str, SetResult]) -> list[str]:
    """Return a sentence for each goal: what is reached, and what is needed."""
    met = [name for name in COUNTED if name in results and results[name].is_met]
    fast = [name for name in FP32_SETS if name in results and results[name].is_fp32_met]
    verdicts = {True: "reached", False: "not reached"}
    seeds = {name: len(result.seeds) + result.lost_seeds for name, result in results.items() if name in COUNTED}
    missing = [f"{name} has {count} of {len(SEEDS)} seeds" for name, count in seeds.items() if count < len(SEEDS)]
    return [
        f"Against peers: {len(met)} of {len(COUNTED)} sets ({', '.join(met) or 'none'}), {NEEDED_SETS} needed:"
        f" {verdicts[len(met) >= NEEDED_SETS]}.",
        f"At least {FP32_GOAL:g}× over fp32 onnxruntime: {', '.join(fast) or 'none'} of {' and '.join(FP32_SETS)}:"
        f" {verdicts[len(fast) == len(FP32_SETS)]}.",
        *([f"Not complete: {', '.join(missing)}."] if missing else []),
    ]

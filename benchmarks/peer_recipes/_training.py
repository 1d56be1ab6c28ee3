"""What the peers that train share: batches, and a plain loop of AdamW with a linear schedule, with or without a teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peer_recipes._transformers import INPUTS, load_tokenizer
from benchmarks.peers_cases import Case, Text

if TYPE_CHECKING:
    import torch

WARMUP, WEIGHT_DECAY, TEMPERATURE = 0.06, 0.01, 2.0
ENCODING_BATCH = 64


def encode_rows(case: Case, texts: list[Text]) -> list[dict[str, list[int]]]:
    """Return the model's inputs of all texts, not padded."""
    tokenizer = load_tokenizer(case)
    encoded = (tokenizer.encode(*text) for text in texts)
    return [dict(zip(INPUTS, (row.ids, row.attention_mask, row.type_ids), strict=True)) for row in encoded]


def pad(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Return rows as one batch of tensors; padding is token 0, which BERT's tokenizers use."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    return {name: torch.tensor([row[name] + [0] * (longest - len(row[name])) for row in rows]) for name in INPUTS}


def predict_logits(model: Any, rows: list[dict[str, list[int]]]) -> torch.Tensor:
    """Return a model's logits (rows, labels), in batches of rows of similar length."""
    import torch

    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
    parts = []
    with torch.no_grad(), autocast():
        for start in range(0, len(order), ENCODING_BATCH):
            batch = [rows[row] for row in order[start : start + ENCODING_BATCH]]
            parts.append(model(**pad(batch)).logits.float())
    return torch.cat(parts)[torch.tensor(np.argsort(order))]


def train(
    model: Any,
    rows: list[dict[str, list[int]]],
    labels: np.ndarray | None,
    *,
    epochs: float,
    learning_rate: float,
    batch: int,
    seed: int,
    teacher_logits: torch.Tensor | None = None,  # what is learned where labels are null
) -> None:
    """Train a classifier: AdamW, warm-up and linear decay, cross-entropy, or the teacher's distribution."""
    import torch

    torch.manual_seed(seed)
    steps = math.ceil(epochs * len(rows) / batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    warmup = max(1, int(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    model.train()
    for chosen in draw_batches(len(rows), batch, steps, seed):
        with autocast():
            logits = model(**pad([rows[row] for row in chosen])).logits.float()
        if labels is not None:
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
        else:
            assert teacher_logits is not None
            loss = _distillation_loss(logits, teacher_logits[torch.from_numpy(chosen)])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def draw_batches(rows: int, batch: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of each step; every epoch is shuffled anew."""
    rng, done = np.random.default_rng(seed), 0
    while done < steps:
        order = rng.permutation(rows)
        for start in range(0, rows, batch):
            if done == steps:
                return
            yield order[start : start + batch]
            done += 1


def autocast() -> AbstractContextManager[Any]:
    """Return a context that computes in bf16 where the CPU has instructions for it."""
    import torch

    from autocompress.benchmarking import cpu_flags

    return torch.autocast("cpu", torch.bfloat16) if "avx512_bf16" in cpu_flags() else nullcontext()


def _distillation_loss(logits: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import kl_div, log_softmax

    learned, wanted = (log_softmax(values / TEMPERATURE, -1) for values in (logits, expected))
    return kl_div(learned, wanted, reduction="batchmean", log_target=True) * TEMPERATURE**2

"""The time from a text to its label: the tokenizer, the model, and the choice of the label, as a plain user runs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autocompress.runtimes import Session

MOST_TEXTS, ROUNDS = 100, 3
Text = tuple[str, str | None]  # the second one where the model reads pairs


def measure_text_ms(session: Session, artifact: Path, texts: Sequence[Text]) -> float:
    """Return the median of the milliseconds from a text to its label, one text at a time, over up to 100 texts.

    The artifact's tokenizer.json is read by `tokenizers`, as the model card shows; the first of three rounds warms up.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    seconds: list[float] = []
    for number in range(ROUNDS):
        for text, other in texts[:MOST_TEXTS]:
            start = time.perf_counter()
            encoded = tokenizer.encode(text, other)
            feed = {
                "input_ids": np.array([encoded.ids], np.int64),
                "attention_mask": np.array([encoded.attention_mask], np.int64),
                "token_type_ids": np.array([encoded.type_ids], np.int64),
            }
            session.run(feed).argmax(-1)
            if number:
                seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))

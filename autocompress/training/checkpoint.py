"""Save a running training, so that it goes on after a kill with the same result as without one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from autocompress.core.json_types import Json

SECONDS = 20.0  # between two savings, at least


class Checkpoint:
    """The file of one running training: weights, optimizer, steps and random numbers.

    `read_more` and `restore_more` add what else belongs to the training, as plain JSON types.
    """

    def __init__(
        self,
        path: Path,
        read_more: Callable[[], Json] = dict,
        restore_more: Callable[[Json], None] = lambda more: None,
    ) -> None:
        self.path, self._read_more, self._restore_more = path, read_more, restore_more
        self._saved = time.monotonic()

    def restore(self, parameters: Sequence[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
        """Restore what was saved, and return the number of steps done; 0 where nothing was saved."""
        if not self.path.is_file():
            return 0
        state = torch.load(self.path, weights_only=True)
        with torch.no_grad():
            for parameter, saved in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self._restore_more(state["more"])
        return int(state["steps"])

    def save_if_due(
        self, steps: int, parameters: Sequence[torch.nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        """Save the training after so many steps, unless it was saved a short time ago."""
        if time.monotonic() - self._saved < SECONDS:
            return
        state = {
            "steps": steps, "parameters": list(parameters), "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(), "more": self._read_more(),
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new")
        torch.save(state, unfinished)
        os.replace(unfinished, self.path)
        self._saved = time.monotonic()

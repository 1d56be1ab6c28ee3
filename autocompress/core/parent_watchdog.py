"""A process that must not outlive the one that started it."""

from __future__ import annotations

import os
import threading
import time

LOOK_SECONDS = 0.5


def exit_with_parent(parent: int) -> None:
    """End this process, from now on, soon after the process `parent` that started it, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

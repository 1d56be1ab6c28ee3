"""Run the command line with `python -m autocompress`."""

from __future__ import annotations

import sys

from autocompress.interfaces.cli import main

if __name__ == "__main__":  # not when a worker process imports this file
    sys.exit(main())

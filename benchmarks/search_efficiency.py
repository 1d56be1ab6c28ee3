"""How soon a search has the front that a plain loop needs 30 trials for, and the value of each part of the engine.

`python benchmarks/search_efficiency.py run [--only SET-ARM-SEED …]` runs the missing searches, the most important first, and
continues after a kill. It stores the result of each run in search_efficiency.json, beside this file. `… report` writes the
README's tables and docs/search_efficiency.svg from it.

The clock of a search starts when the teacher is measured, because that part is the same for all. The front of each moment is
selected on validation; its hypervolume is computed on test. `run` needs AUTOCOMPRESS_DATA; `report` needs the extra
`benchmarks`.
"""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks.search_efficiency_records import list_runs, read_records, write_record
from benchmarks.search_efficiency_report import write_report


def main() -> None:
    """Run the missing searches, or write the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--only", nargs="*", default=None, help="names of runs: SET-ARM-SEED")
    arguments = parser.parse_args()
    if arguments.what == "report":
        write_report()
    else:
        run_missing(arguments.only)


def run_missing(names: list[str] | None) -> None:
    """Search every run that has no record yet; `names` limits the runs."""
    from benchmarks.search_efficiency_searches import search_run  # here, since it imports torch

    if "AUTOCOMPRESS_DATA" not in os.environ:
        sys.exit("AUTOCOMPRESS_DATA is not set; set it to the folder that contains sst2/ and trec/")
    for run in list_runs():
        if (names is None or run.name in names) and run not in read_records():
            print(f"==== {run.name}", flush=True)
            write_record(search_run(run))


if __name__ == "__main__":
    main()

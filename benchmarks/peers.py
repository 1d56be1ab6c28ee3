"""autocompress beside its peers: same teacher, rows and machine, interleaved, on the test split.

`python -m benchmarks.peers run [--only SET …] [--seeds N …] [--peers NAME …] [--studies FOLDER]` takes a finished study for
each set and seed (FOLDER/SET-SEED.yaml) and exports its teacher and the model that `pick --max-drop 0.01 --prefer latency_ms`
names. It builds every peer from the same teacher and rows, each in its own recommended way and in an environment of its own
where needed, scores all on test, and times all in the same rounds. It adds a row to peers.json after each build, and continues
where it stopped. A peer that fails keeps a row with the reason; `--again` tries those again. Nothing else may run meanwhile.
Teacher, rows and models stay in studies/peers/SET-SEED; delete that folder and its rows after the study has changed.

`… report` prints the tables, computes our goals from them, adds the selection matrix from the recorded searches of
`benchmarks.choosing`, writes all of it into docs/pages/peers.md, and draws its picture (needs the extra `benchmarks`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peer_recipes import NAMES
from benchmarks.peers_records import SEEDS, SETS, remove_lost_rows

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "studies" / "choosing"
CASES = ROOT / "studies" / "peers"  # teachers, rows and models: git ignores them


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--studies", type=Path, default=STUDIES, help="the folder of the study files SET-SEED.yaml")
    parser.add_argument("--again", action="store_true", help="try peers again that failed")
    options = parser.parse_args()
    if options.what == "report":
        from benchmarks.peers_report import write_report

        write_report()
    else:
        if options.again:
            remove_lost_rows(options.only, options.seeds, options.peers)
        run_all(options.only, options.seeds, options.peers, options.studies)


def run_all(sets: list[str], seeds: list[int], peers: list[str], studies: Path) -> None:
    """Run all cases, seed by seed; a set without its study is left out with a sentence."""
    from autocompress.core.errors import UsageError
    from benchmarks.peers_runs import run_case
    from benchmarks.peers_studies import make_case

    for seed in seeds:
        for name in sets:
            try:
                case = make_case(studies, name, seed, CASES / f"{name}-{seed}")
            except UsageError as error:
                print(error, file=sys.stderr)
                continue
            run_case(case, peers)


if __name__ == "__main__":
    main()

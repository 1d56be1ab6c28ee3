"""The report of the peers benchmark: a table per set, the goals, the selection matrix, and a picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.choosing_records import read_records
from benchmarks.peer_recipes import NAMES, PICKED, Peer, load_peer
from benchmarks.peers_goals import SetResult, describe_goals, judge_set
from benchmarks.peers_matrix import render_matrix
from benchmarks.peers_records import SETS, Row, read_rows

ROOT = Path(__file__).parent.parent
PAGE, PICTURE = ROOT / "docs" / "pages" / "peers.md", ROOT / "docs" / "pages" / "peers.svg"
BEGIN, END = "<!-- peers: begin (written by benchmarks/peers.py) -->", "<!-- peers: end -->"
COLOURS = {"reference": "#666666", "picked": "#0072B2", "training-free": "#D55E00", "trained": "#009E73",
           "no transformer": "#CC79A7"}  # Okabe and Ito: readable for colour-blind people  # fmt: skip


def write_report() -> None:
    """Print the tables, draw the picture, and rewrite the block of the docs' page."""
    rows = list(read_rows().values())
    peers = {name: load_peer(name) for name in NAMES}
    text = "\n".join([*render_tables(rows, peers), *render_matrix(read_records())])
    print(text)
    if rows:
        draw(rows, peers)
    write_block(PAGE, text)


def render_tables(rows: Sequence[Row], peers: Mapping[str, Peer]) -> list[str]:
    """Return the lines of the tables in Markdown."""
    if not rows:
        return ["Not run yet.", ""]
    kinds = {name: peer.kind for name, peer in peers.items()}
    results = {name: judge_set(name, rows, kinds) for name in SETS}
    lines = [*_goal_lines(results, peers), ""]
    if any(row.is_timed for row in rows):
        lines += [f"![Points lost on test against the time from text to label]({PICTURE.name})", ""]
    for name in SETS:
        of_set = [row for row in rows if row.set == name]
        if of_set:
            lines += [*_set_lines(name, of_set, peers), ""]
    cpus = sorted({_describe_cpu(row.machine) for row in rows if row.machine})
    return [
        *lines,
        f"1 thread, batch 1 ({'; '.join(cpus)}). Values are medians over the seeds, with their range; the"
        " 95 % interval where there is one seed.",
        "",
    ]


def _describe_cpu(machine: Mapping[str, Any]) -> str:
    """Return the CPU and its instructions, which decide how much int8 and bf16 bring."""
    return f"{machine['cpu']} with {', '.join(machine['cpu_flags']) or 'no special instruction sets'}"


def _goal_lines(results: Mapping[str, SetResult], peers: Mapping[str, Peer]) -> list[str]:
    """Render the goals: a sentence for each, and a line for each set."""
    lines = [
        "| set | seeds | drop, points | × fp32 | × best training-free peer | × best transformer | size ÷ the latter's |"
        " all reached |",
        "|---|--:|--:|--:|---|---|--:|---|",
    ]
    for result in results.values():
        if result.lost_seeds:
            lines.append(f"| {result.name} | no model picked in {result.lost_seeds} seeds | | | | | | no |")
        if result.seeds:
            lines.append(_goal_line(result, peers))
    return [*lines, "", *describe_goals(results), "mrpc is reported, not counted."]


def _goal_line(result: SetResult, peers: Mapping[str, Peer]) -> str:
    names = ({getattr(seed, name) for seed in result.seeds} for name in ("best_training_free", "best_transformer"))
    free, best = ("; ".join(sorted(peers[name].title for name in of_seeds)) for of_seeds in names)
    return (
        f"| {result.name} | {len(result.seeds)} | {100 * result.median('drop'):.1f} | {result.median('speedup'):.1f} |"
        f" {result.median('over_training_free'):.1f} ({free}) |"
        f" {result.median('over_transformers'):.2f} ({best}) |"
        f" {result.median('size_share'):.2f} | {'yes' if result.is_met else 'no'} |"
    )


def _set_lines(name: str, rows: Sequence[Row], peers: Mapping[str, Peer]) -> list[str]:
    """Render the table of a set: our model first, then the peers in their order, those that failed with their reason."""
    lines = [
        f"### {name}",
        "",
        "| model | kind | seeds | test accuracy | drop, points | size, MB | ms | × fp32 onnxruntime | text to label, ms | × |"
        " minutes to build |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for peer in (PICKED, *(name for name in peers if name != PICKED)):
        of_peer = [row for row in rows if row.peer == peer]
        done = [row for row in of_peer if not row.is_lost]
        if done:
            lines.append(_peer_line(peers[peer], done))
        lines += [
            f"| {peers[peer].title} | {peers[peer].kind} | seed {row.seed} lost | {_cell(row.reason or '')} | | | | | | | |"
            for row in of_peer
            if row.is_lost
        ]
    return lines


def _peer_line(peer: Peer, rows: Sequence[Row]) -> str:
    def cell(value: Callable[[Row], float | None], digits: int, factor: float = 1.0) -> str:
        values = [factor * found for row in rows if (found := value(row)) is not None]
        return format_spread(values, digits)

    cells = [
        cell(lambda row: row.accuracy, 1, 100),
        cell(lambda row: row.drop, 1, 100) + single_interval([row.drop_interval for row in rows], 1, 100),
        cell(lambda row: row.size_mb, 1),
        cell(lambda row: row.latency_ms, 3),
        cell(lambda row: row.speedup, 2) + single_interval([row.speedup_interval for row in rows], 2),
        cell(lambda row: row.text_ms, 3),
        cell(lambda row: row.text_speedup, 2) + single_interval([row.text_speedup_interval for row in rows], 2),
        cell(lambda row: None if row.seconds is None else row.seconds / 60, 1),
    ]
    return f"| {peer.title} | {peer.kind} | {len(rows)} | {' | '.join(cells)} |"


def format_spread(values: Sequence[float], digits: int) -> str:
    """Return the median, and the range where there are several values; an empty text for none."""
    if not values:
        return ""
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def single_interval(intervals: Sequence[tuple[float, float] | None], digits: int, factor: float = 1.0) -> str:
    """Return the 95 % interval where there is one seed alone: several seeds show their range instead."""
    interval = intervals[0]
    if len(intervals) > 1 or interval is None:
        return ""
    return f" ({factor * interval[0]:.{digits}f} … {factor * interval[1]:.{digits}f})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write_block(page: Path, text: str) -> None:
    """Replace what stands between the comments of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def draw(rows: Iterable[Row], peers: Mapping[str, Peer]) -> None:
    """Draw the drop on test against the time from text to label, one panel per set, into docs/pages/peers.svg."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "autocompress"  # the same rows give the same file
    from matplotlib import pyplot

    timed = [row for row in rows if row.is_timed and not row.is_lost]
    names = [name for name in SETS if any(row.set == name for row in timed)]
    if not names:
        return
    figure, panels = pyplot.subplots(1, len(names), figsize=(4 * len(names), 4), layout="constrained", squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        for kind, colour in COLOURS.items():
            titles = [peer.title for peer in peers.values() if peer.kind == kind]
            marks = [row for row in timed if row.set == name and peers[row.peer].kind == kind]
            panel.scatter([row.text_ms for row in marks], [100 * (row.drop or 0.0) for row in marks],
                          s=[4 * (row.size_mb or 0.0) + 8 for row in marks], color=colour, alpha=0.75,
                          label=titles[0] if len(titles) == 1 else kind, edgecolor="white")  # fmt: skip
        panel.set_xscale("log")
        panel.invert_yaxis()
        panel.set_title(name)
        panel.set_xlabel("ms from text to label (log scale)")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("points lost on test; area = file size")
    marks, labels = panels[0][-1].get_legend_handles_labels()
    for handle in figure.legend(marks, labels, frameon=False, loc="outside lower center", ncols=3).legend_handles:
        handle.set_sizes([40])
    figure.savefig(PICTURE, metadata={"Date": None})

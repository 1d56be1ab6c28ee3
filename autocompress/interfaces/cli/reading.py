"""Commands that read a study: its front, its trials, the best trial, comparisons, the report."""

from __future__ import annotations

from pathlib import Path

from autocompress.core.errors import UsageError
from autocompress.interfaces.cli import options as opt
from autocompress.interfaces.cli._app import app
from autocompress.interfaces.cli.arguments import choose_trial, constraint_options, names_trial, parse_trial
from autocompress.interfaces.terminal import Terminal, command


@command(app)
def front(terminal: Terminal, study: opt.Study, device: opt.StudyDevice = None, storage: opt.Storage = None) -> None:
    """Print the Pareto front and the teacher."""
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters

    view = locate(study, storage).checked_view(device)
    terminal.result(presenters.document(view, view.front), *presenters.front_parts(view))


@command(app)
def trials(terminal: Terminal, study: opt.Study, device: opt.StudyDevice = None, storage: opt.Storage = None) -> None:
    """Print every trial with its state, and the reason if it was stopped, failed or not fully trained."""
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters, rendering

    view = locate(study, storage).view(device)
    rows = presenters.rows_with_reasons(view)
    terminal.result(
        presenters.document(view, rows), rendering.trials_table(rows, presenters.metric_of(view)), rendering.LEGEND
    )


@command(app)
def pick(
    terminal: Terminal,
    study: opt.Study,
    max_drop: opt.MaxDrop = None,
    max_latency_ms: opt.MaxLatency = None,
    max_size_mb: opt.MaxSize = None,
    max_download_mb: opt.MaxDownload = None,
    prefer: opt.Prefer = None,
    explain: opt.Explain = False,
    device: opt.StudyDevice = None,
    storage: opt.Storage = None,
) -> None:
    """Print the best trial that satisfies the study's constraints; options replace them."""
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters, rendering

    located = locate(study, storage)
    view = located.view(device)
    limits = constraint_options(max_drop, max_latency_ms, max_size_mb, max_download_mb)
    picked = choose_trial(terminal, view, limits, prefer)
    document = picked.row.as_json()
    lines = rendering.row_sentences(picked.row, picked.expected, presenters.metric_of(view))
    if explain:
        explanation = presenters.explain_choice(view, picked, limits, prefer)
        document["explanation"] = rendering.explanation_json(explanation)
        lines += ["", *rendering.explanation_sentences(explanation, view.objectives)]
    steps = [] if terminal.quiet else ["\nnext:", f"  {presenters.export_command(located, view, picked.row.trial)}"]
    terminal.result(document, *lines, *steps)


@command(app)
def compare(terminal: Terminal, a: opt.TrialA, b: opt.TrialB, storage: opt.Storage = None) -> None:
    """Compare two trials on the same test rows, or two studies by their fronts."""
    if names_trial(a) or names_trial(b) or b.isdigit():
        _compare_trials(terminal, a, b, storage)
    else:
        _compare_studies(terminal, a, b, storage)


def _compare_studies(terminal: Terminal, a: str, b: str, storage: str | None) -> None:
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters, rendering

    comparison = presenters.compare_studies(locate(a, storage).view(), locate(b, storage).view())
    terminal.result(
        comparison.as_json(),
        *rendering.front_comparison_sentences(comparison),
        rendering.front_comparison_table(comparison),
    )


def _compare_trials(terminal: Terminal, a: str, b: str, storage: str | None) -> None:
    from autocompress.actions.compare import TrialLocation, compare_trials
    from autocompress.actions.locate import locate
    from autocompress.interfaces import rendering
    from autocompress.interfaces.rendering.progress import display_for

    study_a, trial_a = parse_trial(a)
    study_b, trial_b = (study_a, int(b)) if b.isascii() and b.isdigit() else parse_trial(b)
    first = TrialLocation(locate(study_a, storage), trial_a)
    second = TrialLocation(locate(study_b, storage), trial_b)
    with display_for(terminal.err, "", terminal.quiet, terminal.verbose) as display:
        comparison = compare_trials(first, second, display)
    terminal.result(comparison.as_json(), *rendering.comparison_sentences(comparison))


@command(app)
def report(
    terminal: Terminal,
    study: opt.Study,
    to: opt.Page = None,
    trial: opt.TrialToReport = None,
    device: opt.StudyDevice = None,
    no_examples: opt.NoExamples = False,
    no_ablation: opt.NoAblation = False,
    storage: opt.Storage = None,
) -> None:
    """Write one HTML page on a study and one of its trials; the page needs no network."""
    from dataclasses import replace

    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters
    from autocompress.interfaces.rendering.progress import display_for

    try:
        from autocompress.actions.report import ablate, gather, render
    except ImportError as error:
        raise UsageError(f"report: {error.name} is not installed; pip install 'autocompress[report]'") from None
    located = locate(study, storage)
    view = located.view(device)
    if trial is None:
        trial = choose_trial(terminal, view, {}, None).row.trial
    data = gather(located, trial, device, examples=not no_examples)
    metric = presenters.metric_of(view)
    if not no_ablation:
        with display_for(terminal.err, metric, terminal.quiet, terminal.verbose) as display:
            data = replace(data, effects=ablate(located, trial, display, device))
    page = to or Path(study).parent / view.name / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render(data, metric, presenters.commands(located, view, trial)), encoding="utf-8")
    document = {"study": view.name, "trial": trial, "page": str(page), "bytes": page.stat().st_size}
    terminal.result(document, f"wrote the report on trial {trial} to {page}; open it in a browser")

"""Commands on studies: search them, read them, choose, export, tidy up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autocompress.core.errors import UsageError
from autocompress.interfaces.cli import options as opt
from autocompress.interfaces.cli._app import app, storage_app
from autocompress.interfaces.terminal import INTERRUPTED, Terminal, command, command_line

if TYPE_CHECKING:
    from autocompress.actions.locate import StudyLocation
    from autocompress.config import StudyPlan
    from autocompress.selection import Picked
    from autocompress.study import StudyView


@command(app, prints_results=False)
def init(
    terminal: Terminal,
    model: opt.Model,
    data: opt.Data,
    to: opt.StudyFile = Path("study.yaml"),
    text: opt.TextColumn = None,
    pair: opt.PairColumn = None,
    label: opt.LabelColumn = None,
    offline: opt.Offline = False,
) -> None:
    """Look at a model and its data, and write a commented study file for them."""
    from autocompress.actions.study_template import make_study_template
    from autocompress.config import read_plan
    from autocompress.search.plan_check import prepare

    if to.exists():
        raise UsageError(f"--to {to}: this file is there already; name another one")
    found = make_study_template(model, data, to, offline, {"text": text, "pair": pair, "label": label})
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(found.text, encoding="utf-8")
    for reason in found.reasons:
        terminal.note(reason)
    prepare(read_plan(to), offline)  # a mistake in it is said here, with the place
    terminal.note(f"written to {to}; every choice in it has its reason beside it, and can be changed")
    terminal.note(f"next:\n  {command_line(['search', to])}")


@command(app)
def search(
    terminal: Terminal,
    study: opt.Study,
    trials: opt.Trials = None,
    time: opt.Time = None,
    workers: opt.Workers = None,
    set_: opt.Set = None,
    offline: opt.Offline = False,
    trust_remote_code: opt.Trust = False,
    storage: opt.Storage = None,
) -> None:
    """Run or continue a study. Ctrl-C ends it cleanly; the same command goes on."""
    from autocompress.config import read_plan, study_file
    from autocompress.interfaces import presenters
    from autocompress.interfaces.rendering.progress import display_for
    from autocompress.search.supervisor import run_search

    options = {"budget.trials": trials, "budget.time": _time(time), "workers": workers}
    overrides = [*(set_ or ()), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    plan = read_plan(study_file(study), overrides, trust_remote_code=trust_remote_code, storage=storage)
    with display_for(terminal.err, presenters.base_name(plan.task.metric), terminal.quiet, terminal.verbose) as display:
        display.message(f"study {plan.study}: checking the teacher, the data and the space")
        ending = run_search(plan, display=display, offline=offline)
    terminal.note(f"the search ended: {ending.reason}")
    for line in ending.outlook:
        terminal.note(line)
    located = _as_typed(plan, study, storage)
    view = located.view()
    steps = [] if terminal.quiet else presenters.next_steps(located, view)
    terminal.result(presenters.document(view, view.front), *presenters.front_parts(view), *steps)
    if ending.interrupted:
        terminal.note("interrupted; what was finished is kept, and the same command goes on")
        raise typer.Exit(INTERRUPTED)


@command(app)
def front(terminal: Terminal, study: opt.Study, device: opt.On = None, storage: opt.Storage = None) -> None:
    """Print the Pareto front beside the teacher."""
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters

    view = locate(study, storage).view(device)
    terminal.result(presenters.document(view, view.front), *presenters.front_parts(view))


@command(app)
def trials(terminal: Terminal, study: opt.Study, device: opt.On = None, storage: opt.Storage = None) -> None:
    """Print every trial, with its state, and why it was stopped, failed, or not trained further."""
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters, rendering

    view = locate(study, storage).view(device)
    rows = presenters.explained(view)
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
    prefer: opt.Prefer = None,
    explain: opt.Explain = False,
    device: opt.On = None,
    storage: opt.Storage = None,
) -> None:
    """Name the best trial under constraints: the study's, except where an option says otherwise."""
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters, rendering

    located = locate(study, storage)
    view = located.view(device)
    limits = _limits(max_drop, max_latency_ms, max_size_mb)
    picked = _choose(terminal, view, limits, prefer)
    document, lines = (
        picked.row.as_json(),
        rendering.row_sentences(picked.row, picked.expected, presenters.metric_of(view)),
    )
    if explain:
        why = presenters.why(view, picked, limits, prefer)
        document["explanation"] = rendering.why_json(why)
        lines += ["", *rendering.why_sentences(why, view.objectives)]
    steps = [] if terminal.quiet else ["\nnext:", f"  {presenters.export_command(located, view, picked.row.trial)}"]
    terminal.result(document, *lines, *steps)


@command(app)
def compare(terminal: Terminal, a: opt.TrialA, b: opt.TrialB, storage: opt.Storage = None) -> None:
    """Compare two trials on the same rows of the test split, or two studies by their fronts."""
    from autocompress.actions.compare import Side
    from autocompress.actions.compare import compare as side_by_side
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters, rendering
    from autocompress.interfaces.rendering.progress import display_for

    if not (_names_trial(a) or _names_trial(b) or b.isdigit()):
        fought = presenters.side_by_side(locate(a, storage).view(), locate(b, storage).view())
        terminal.result(
            fought.as_json(), *rendering.front_comparison_sentences(fought), rendering.front_comparison_table(fought)
        )
        return
    study, trial = _trial_of(a)
    other, number = (study, int(b)) if b.isascii() and b.isdigit() else _trial_of(b)
    first, second = Side(locate(study, storage), trial), Side(locate(other, storage), number)
    with display_for(terminal.err, "", terminal.quiet, terminal.verbose) as display:
        found = side_by_side(first, second, display)
    terminal.result(found.as_json(), *rendering.comparison_sentences(found))


@command(app)
def report(
    terminal: Terminal,
    study: opt.Study,
    to: opt.Page = None,
    trial: opt.Told = None,
    device: opt.On = None,
    no_examples: opt.NoExamples = False,
    no_ablation: opt.NoAblation = False,
    storage: opt.Storage = None,
) -> None:
    """Write one HTML page on a study and one of its trials; it needs no network."""
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
        trial = _choose(terminal, view, {}, None).row.trial
    facts = gather(located, trial, device, examples=not no_examples)
    if not no_ablation:
        with display_for(terminal.err, presenters.metric_of(view), terminal.quiet, terminal.verbose) as display:
            facts = replace(facts, shares=ablate(located, trial, display, device))
    page = to or Path(study).parent / view.name / "report.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        render(facts, presenters.metric_of(view), presenters.commands(located, view, trial)), encoding="utf-8"
    )
    document = {"study": view.name, "trial": trial, "page": str(page), "bytes": page.stat().st_size}
    terminal.result(document, f"the report on trial {trial} is {page}; any browser opens it")


@command(app)
def reproduce(
    terminal: Terminal, study: opt.Study, trial: opt.Again, offline: opt.Offline = False, storage: opt.Storage = None
) -> None:
    """Do a trial again, from the teacher on, in an empty folder, and say what came out otherwise."""
    from autocompress.actions.locate import locate
    from autocompress.actions.reproduce import reproduce as again
    from autocompress.interfaces import presenters, rendering
    from autocompress.interfaces.rendering.progress import display_for

    located = locate(study, storage)
    metric = presenters.metric_of(located.view())
    with display_for(terminal.err, metric, terminal.quiet, terminal.verbose) as display:
        found = again(located, trial, display, offline)
    terminal.result(found.as_json(), *rendering.reproduction_sentences(found.row, found.checks, found.changed))
    if not found.succeeded:
        raise typer.Exit(1)


@command(app)
def export(
    terminal: Terminal,
    study: opt.Study,
    to: opt.To,
    trial: opt.Trial = None,
    max_drop: opt.MaxDrop = None,
    max_latency_ms: opt.MaxLatency = None,
    max_size_mb: opt.MaxSize = None,
    prefer: opt.Prefer = None,
    device: opt.On = None,
    form: opt.Form = "onnx",
    force: opt.Force = False,
    offline: opt.Offline = False,
    storage: opt.Storage = None,
) -> None:
    """Write the model of a trial as a folder that deploys by itself; on the test split it is measured first."""
    from autocompress.actions.export import export_trial
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters
    from autocompress.interfaces.rendering.progress import display_for

    located, limits = locate(study, storage), _limits(max_drop, max_latency_ms, max_size_mb)
    view = located.view(device)
    if trial is not None and (limits or prefer):
        raise UsageError(
            "export: --trial names the model by itself; leave out the constraints and --prefer, or --trial"
        )
    if trial is None:
        trial = _choose(terminal, view, limits, prefer).row.trial
    with display_for(terminal.err, presenters.metric_of(view), terminal.quiet, terminal.verbose) as display:
        done = export_trial(located, trial, to, device=device, form=form, force=force, display=display, offline=offline)
    if done.set_aside:
        terminal.note(f"what was in {to} before is now in {done.set_aside}")
    steps = [] if terminal.quiet else ["next:", f"  {command_line(['verify', to])}"]
    written = f"trial {done.trial} is now in {done.to} ({done.files} files, {done.megabytes:.2f} MB)"
    terminal.result(done.as_json(), written, *steps)


@command(app, prints_results=False)
def dashboard(
    terminal: Terminal,
    study: opt.MaybeStudy = None,
    port: opt.Port = 8080,
    host: opt.Host = "127.0.0.1",
    writable: opt.Writable = False,
    storage: opt.Storage = None,
) -> None:
    """Open Optuna Dashboard on a study's storage; localhost and read-only unless told otherwise."""
    from autocompress.actions.locate import locate_storage

    url, name = locate_storage(study, storage)
    try:
        from autocompress.interfaces.dashboard import serve
    except ImportError as error:
        raise UsageError(f"dashboard: {error.name} is not installed; pip install 'autocompress[dashboard]'") from None
    serve(url, name, host, port, read_only=not writable)


@command(app)
def clean(
    terminal: Terminal,
    study: opt.MaybeStudy = None,
    cache: opt.Cache = False,
    yes: opt.Yes = False,
    storage: opt.Storage = None,
) -> None:
    """Say what disk can be freed: models that are not on the front, or caches; with --yes, free it."""
    from autocompress.actions.clean import plan_cleaning
    from autocompress.actions.locate import locate_all
    from autocompress.interfaces import rendering

    cleanings = [plan_cleaning(located, cache) for located in locate_all(study, storage)]
    for cleaning in cleanings if yes else ():
        cleaning.carry_out()
    document = {"removed": yes, "studies": [cleaning.as_json() for cleaning in cleanings]}
    terminal.result(document, *rendering.cleaning_sentences(cleanings, yes))


@command(storage_app)
def upgrade(terminal: Terminal, study: opt.MaybeStudy = None, storage: opt.Storage = None) -> None:
    """Upgrade a database that an earlier version wrote; an SQLite file is backed up beside itself first."""
    from autocompress.actions.locate import locate_storage
    from autocompress.actions.upgrade_storage import upgrade_storage

    url, _ = locate_storage(study, storage)
    done = upgrade_storage(url)
    if done.before == done.after:
        told = f"{done.storage} is up to date (schema {done.after})"
    else:
        backup = f"; the backup is {done.backup}" if done.backup else ""
        told = f"{done.storage} was upgraded from schema {done.before} to {done.after}{backup}"
    presenters = "result" if done.adopted == 1 else "results"
    terminal.result(
        done.as_json(), told, f"{done.adopted} cached {presenters} of earlier versions linked under new keys"
    )


def _names_trial(text: str) -> bool:
    return text.rpartition(":")[2].isdigit()


def _trial_of(text: str) -> tuple[str, int]:
    """A study and the number of a trial: `studies/sst2.yaml:12`."""
    study, colon, trial = text.rpartition(":")
    if not (colon and study and trial.isascii() and trial.isdigit()):
        raise UsageError(f"compare: STUDY:TRIAL is needed, as in studies/sst2.yaml:12, but got {text!r}")
    return study, int(trial)


def _time(text: str | None) -> str | None:
    """The time as typed, checked here so that the message names the option."""
    from autocompress.config import parse_duration

    try:
        return None if text is None else f"{parse_duration(text):g}"
    except ValueError as error:
        raise UsageError(f"--time: {error}") from None


def _limits(drop: float | None, latency_ms: float | None, size_mb: float | None) -> dict[str, float]:
    """The constraints that were given as options."""
    given = {"max_drop": drop, "max_latency_ms": latency_ms, "max_size_mb": size_mb}
    return {name: bound for name, bound in given.items() if bound is not None}


def _choose(terminal: Terminal, view: StudyView, limits: dict[str, float], prefer: str | None) -> Picked:
    """The best trial; where none fits, the nearest misses are the JSON document."""
    from autocompress.interfaces import presenters

    try:
        return presenters.choose(view, limits, prefer)
    except presenters.NoTrialFits as miss:
        terminal.result(miss.document())
        raise


def _as_typed(plan: StudyPlan, study: str, storage: str | None) -> StudyLocation:
    """The study under the words that were typed, unless --set moved it."""
    from autocompress.actions.locate import StudyLocation, locate

    located = locate(study, storage)
    if (located.url, located.name) == (plan.storage, plan.study):
        return located
    return StudyLocation(typed=plan.study, storage=plan.storage, url=plan.storage, name=plan.study)

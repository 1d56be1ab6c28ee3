"""Commands that run trials: write a study file, search, refresh or reproduce a trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autocompress.core.errors import UsageError
from autocompress.interfaces.cli import options as opt
from autocompress.interfaces.cli._app import app
from autocompress.interfaces.cli.arguments import parse_time
from autocompress.interfaces.terminal import INTERRUPTED, Terminal, command, command_line

if TYPE_CHECKING:
    from autocompress.actions.locate import StudyLocation
    from autocompress.config import StudyPlan


@command(app, prints_results=False)
def init(
    terminal: Terminal,
    model: opt.Model,
    data: opt.Data,
    to: opt.StudyFile = Path("study.yaml"),
    text: opt.TextColumn = None,
    pair: opt.PairColumn = None,
    label: opt.LabelColumn = None,
    task: opt.Task = None,
    offline: opt.Offline = False,
) -> None:
    """Inspect a model and its data, and write a commented study file for them."""
    from autocompress.actions.study_template import make_study_template
    from autocompress.config import read_plan
    from autocompress.search.plan_check import prepare

    if to.exists():
        raise UsageError(f"--to {to}: the file exists; name another one")
    template = make_study_template(model, data, to, offline, {"text": text, "pair": pair, "label": label}, task)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(template.text, encoding="utf-8")
    for reason in template.reasons:
        terminal.note(reason)
    prepare(read_plan(to), offline)  # checks the file; an error names the place in it
    terminal.note(f"wrote {to}; a comment explains each choice, and you can change it")
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
    """Run a study, or continue it. Ctrl-C ends it cleanly; the same command continues it."""
    from autocompress.config import read_plan, study_file

    options = {"budget.trials": trials, "budget.time": parse_time(time), "workers": workers}
    overrides = [*(set_ or ()), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    plan = read_plan(study_file(study), overrides, trust_remote_code=trust_remote_code, storage=storage)
    successor = _search(terminal, plan, study, storage, offline)
    if successor is not None:
        kept = [text for text in overrides if not text.startswith(("study=", "teacher", "storage=", "artifacts"))]
        better = read_plan(successor, kept, trust_remote_code=trust_remote_code, storage=storage)
        _search(terminal, better, str(successor), storage, offline)


def _search(terminal: Terminal, plan: StudyPlan, study: str, storage: str | None, offline: bool) -> Path | None:
    """Run one study and print its front; return the study file of its successor, where it is to have one."""
    from autocompress.actions.card_data import base_name
    from autocompress.actions.successor import write_successor
    from autocompress.config import study_file
    from autocompress.core.teacher_warning import describe_warnings
    from autocompress.interfaces import presenters
    from autocompress.interfaces.rendering.progress import display_for
    from autocompress.search.supervisor import run_search

    with display_for(terminal.err, base_name(plan.task.metric), terminal.quiet, terminal.verbose) as display:
        display.message(f"study {plan.study}: checking the teacher, the data and the space")
        ending = run_search(plan, display=display, offline=offline)
    terminal.note(f"the search ended: {ending.reason}")
    for line in ending.outlook:
        terminal.note(line)
    located = _locate_searched(plan, study, storage)
    view = located.view()
    goes_on = plan.teacher.improve and not ending.interrupted
    successor = write_successor(study_file(study), plan, view) if goes_on else None
    if successor is not None:
        terminal.note("\n".join(f"warning: {sentence}" for sentence in describe_warnings(view.warnings)))
        terminal.note(f"teacher.improve: the search goes on with a better teacher, in {successor}")
        return successor
    steps = [] if terminal.quiet else presenters.next_steps(located, view)
    terminal.result(presenters.document(view, view.front), *presenters.front_parts(view), *steps)
    if ending.interrupted:
        terminal.note("interrupted; finished trials are saved, and the same command continues the search")
        raise typer.Exit(INTERRUPTED)
    return None


@command(app)
def refresh(
    terminal: Terminal,
    study: opt.Study,
    trial: opt.TrialToRefresh,
    teacher: opt.NewTeacher = None,
    data: opt.NewData = None,
    time: opt.RefreshTime = None,
    name: opt.RefreshName = None,
    offline: opt.Offline = False,
    storage: opt.Storage = None,
) -> None:
    """Train a model further against a new teacher, or on new data, and compare it with what it was."""
    from autocompress.actions.locate import locate
    from autocompress.actions.refresh import RefreshRequest, begin_refresh, finish_refresh, refresh_seconds
    from autocompress.config import read_plan
    from autocompress.interfaces import presenters, rendering
    from autocompress.interfaces.rendering.progress import display_for
    from autocompress.search.supervisor import run_search

    seconds = parse_time(time)
    request = RefreshRequest(
        study=locate(study, storage), trial=trial, teacher=teacher, data=data, name=name,
        seconds=None if seconds is None else float(seconds),
    )  # fmt: skip
    metric = presenters.metric_of(request.study.view())
    with display_for(terminal.err, metric, terminal.quiet, terminal.verbose) as display:
        file = begin_refresh(request, display, offline)
        display.message(rendering.refresh_price(refresh_seconds(request), str(file)))
        ending = run_search(read_plan(file, storage=storage), display=display, offline=offline)
        if not ending.interrupted:
            refreshed = finish_refresh(request, file, display, offline)
    if ending.interrupted:
        terminal.note("interrupted; what is done is saved, and the same command continues")
        raise typer.Exit(INTERRUPTED)
    terminal.result(refreshed.as_json(), *rendering.refresh_sentences(refreshed))
    better = refreshed.comparison.a if refreshed.verdict == "old" else refreshed.comparison.b
    chosen = [*refreshed.study.arguments(), "--trial", str(better.trial), "--to", "DIR"]
    terminal.note(f"export it:\n  {command_line(['export', *chosen])}")


@command(app)
def reproduce(
    terminal: Terminal,
    study: opt.Study,
    trial: opt.TrialToReproduce,
    offline: opt.Offline = False,
    storage: opt.Storage = None,
) -> None:
    """Run a trial again from the teacher on, in an empty folder, and report what differs."""
    from autocompress.actions.locate import locate
    from autocompress.actions.reproduce import reproduce_trial
    from autocompress.interfaces import presenters, rendering
    from autocompress.interfaces.rendering.progress import display_for

    located = locate(study, storage)
    metric = presenters.metric_of(located.view())
    with display_for(terminal.err, metric, terminal.quiet, terminal.verbose) as display:
        result = reproduce_trial(located, trial, display, offline)
    terminal.result(result.as_json(), *rendering.reproduction_sentences(result.row, result.checks, result.changed))
    if not result.succeeded:
        raise typer.Exit(1)


def _locate_searched(plan: StudyPlan, study: str, storage: str | None) -> StudyLocation:
    """Return the study's location as the user typed it, unless --set changed its name or storage."""
    from autocompress.actions.locate import StudyLocation, locate

    located = locate(study, storage)
    if (located.url, located.name) == (plan.storage, plan.study):
        return located
    return StudyLocation(typed=plan.study, storage=plan.storage, url=plan.storage, name=plan.study)

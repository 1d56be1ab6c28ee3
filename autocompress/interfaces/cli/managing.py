"""Commands that use or maintain what a study produced: export, dashboard, clean, storage upgrade."""

from __future__ import annotations

from autocompress.core.errors import UsageError
from autocompress.interfaces.cli import options as opt
from autocompress.interfaces.cli._app import app, storage_app
from autocompress.interfaces.cli.arguments import choose_trial, constraint_options
from autocompress.interfaces.terminal import Terminal, command, command_line


@command(app)
def export(
    terminal: Terminal,
    study: opt.Study,
    to: opt.To,
    trial: opt.TrialToExport = None,
    max_drop: opt.MaxDrop = None,
    max_latency_ms: opt.MaxLatency = None,
    max_size_mb: opt.MaxSize = None,
    max_download_mb: opt.MaxDownload = None,
    prefer: opt.Prefer = None,
    device: opt.StudyDevice = None,
    form: opt.Form = "onnx",
    force: opt.Force = False,
    offline: opt.Offline = False,
    storage: opt.Storage = None,
) -> None:
    """Write the model of a trial as a folder that runs by itself; measures it on the test split first."""
    from autocompress.actions.export import export_trial
    from autocompress.actions.locate import locate
    from autocompress.interfaces import presenters
    from autocompress.interfaces.rendering.progress import display_for

    located, limits = locate(study, storage), constraint_options(max_drop, max_latency_ms, max_size_mb, max_download_mb)
    view = located.view(device)
    if trial is not None and (limits or prefer):
        raise UsageError("export: --trial already names the model; leave out the constraints and --prefer, or --trial")
    if trial is None:
        trial = choose_trial(terminal, view, limits, prefer).row.trial
    with display_for(terminal.err, presenters.metric_of(view), terminal.quiet, terminal.verbose) as display:
        exported = export_trial(
            located, trial, to, device=device, form=form, force=force, display=display, offline=offline
        )
    if exported.set_aside:
        terminal.note(f"moved the former content of {to} to {exported.set_aside}")
    steps = [] if terminal.quiet else ["next:", f"  {command_line(['verify', to])}"]
    sentence = f"wrote trial {exported.trial} to {exported.to} ({exported.files} files, {exported.megabytes:.2f} MB)"
    terminal.result(exported.as_json(), sentence, *steps)


@command(app, prints_results=False)
def dashboard(
    terminal: Terminal,
    study: opt.OptionalStudy = None,
    port: opt.Port = 8080,
    host: opt.Host = "127.0.0.1",
    writable: opt.Writable = False,
    storage: opt.Storage = None,
) -> None:
    """Serve Optuna Dashboard for a study's database; by default on localhost and read-only."""
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
    study: opt.OptionalStudy = None,
    cache: opt.Cache = False,
    yes: opt.Yes = False,
    storage: opt.Storage = None,
) -> None:
    """Report reclaimable disk space; free it with --yes.

    Removes models that are on no front and were not measured on test; with --cache the caches of the stages, which are
    computed again when they are needed.
    """
    from autocompress.actions.clean import plan_cleaning
    from autocompress.actions.locate import locate_all
    from autocompress.interfaces import rendering

    cleanings = [plan_cleaning(located, cache) for located in locate_all(study, storage)]
    for cleaning in cleanings if yes else ():
        cleaning.remove_folders()
    document = {"removed": yes, "studies": [cleaning.as_json() for cleaning in cleanings]}
    terminal.result(document, *rendering.cleaning_sentences(cleanings, removed=yes))


@command(storage_app)
def upgrade(terminal: Terminal, study: opt.OptionalStudy = None, storage: opt.Storage = None) -> None:
    """Upgrade a database that an earlier version wrote; an SQLite file is copied to a backup first."""
    from autocompress.actions.locate import locate_storage
    from autocompress.actions.upgrade_storage import upgrade_storage
    from autocompress.interfaces import rendering

    url, _ = locate_storage(study, storage)
    result = upgrade_storage(url)
    terminal.result(result.as_json(), *rendering.upgrade_sentences(result))

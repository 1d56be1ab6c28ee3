"""Arguments and options of the commands: types, bounds and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from autocompress.actions.inventory import KINDS

STUDY_HELP = "A study file, or the name of a study."
Study = Annotated[str, typer.Argument(help=STUDY_HELP, metavar="STUDY")]
OptionalStudy = Annotated[str | None, typer.Argument(help=STUDY_HELP, metavar="[STUDY]")]
TrialA = Annotated[
    str, typer.Argument(help="A trial as STUDY:TRIAL, for example studies/sst2.yaml:12; or a study.", metavar="A")
]
TrialB = Annotated[
    str, typer.Argument(help="The other trial as STUDY:TRIAL, or its number in A's study; or a study.", metavar="B")
]
Storage = Annotated[
    str | None, typer.Option(help="SQLAlchemy URL of the database, instead of the one in the study file.")
]

# init
Model = Annotated[str, typer.Argument(help="A transformers folder, or a model of the hub.", metavar="MODEL")]
Data = Annotated[str, typer.Argument(help="A data file, or a folder with one file per split.", metavar="DATA")]
StudyFile = Annotated[Path, typer.Option("--to", metavar="FILE", help="The study file to write.")]
TextColumn = Annotated[
    str | None, typer.Option("--text", metavar="COLUMN", help="Column of the text; guessed by default.")
]
PairColumn = Annotated[
    str | None, typer.Option("--pair", metavar="COLUMN", help="Column of the second text; guessed by default.")
]
LabelColumn = Annotated[
    str | None, typer.Option("--label", metavar="COLUMN", help="Column of the label; guessed by default.")
]
Task = Annotated[
    str | None, typer.Option("--task", metavar="KIND", help="Task: see `autocompress list tasks`; guessed by default.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Use no network: models and data must be on this machine.")]

# search and reproduce
Trials = Annotated[int | None, typer.Option(min=1, help="Total number of trials, earlier runs included.")]
Time = Annotated[str | None, typer.Option(help="Total time, earlier runs included: 90s, 30m, 2h.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Number of trials that run at the same time.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override a key of the study file; may be repeated."),
]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Allow a metric whose code comes from the hub.")]
TrialToRefresh = Annotated[int, typer.Option("--trial", min=0, help="The trial whose model is refreshed.")]
NewTeacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="MODEL",
        help="The new teacher: a transformers folder, or a model of the hub, of the same kind.",
    ),
]
NewData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DATA",
        exists=True,
        help="New data: a file of training rows, or a folder with one file per split.",
    ),
]
RefreshTime = Annotated[
    str | None, typer.Option("--time", help="Time: 90s, 30m, 2h; by default a tenth of the time of the search.")
]
RefreshName = Annotated[
    str | None, typer.Option("--name", metavar="STUDY", help="Name of the new study; by default STUDY-refreshed.")
]
TrialToReproduce = Annotated[int, typer.Option("--trial", min=0, help="The trial to run again.")]

# constraints
MaxDrop = Annotated[float | None, typer.Option(min=0, help="Largest loss of quality; 0.01 is 1 point.")]
MaxLatency = Annotated[float | None, typer.Option(min=0, help="Largest latency, in ms.")]
MaxSize = Annotated[float | None, typer.Option(min=0, help="Largest size, in MB of 10⁶ bytes.")]
MaxDownload = Annotated[
    float | None, typer.Option(min=0, help="Largest size of all files, the tokenizer included, in MB of 10⁶ bytes.")
]
Prefer = Annotated[
    Literal["quality", "latency_ms", "size_mb", "download_mb", "text_ms"] | None,
    typer.Option(help="Optimize this number only; without it, pick the best compromise (the knee of the front)."),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain", help="Also print the reason for the choice, its alternatives, and the gain of looser constraints."
    ),
]
StudyDevice = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="NAME", help="Use the numbers of this device of the study; all: each model's worst device."
    ),
]

# export and report
To = Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")]
TrialToExport = Annotated[
    int | None, typer.Option("--trial", min=0, help="The trial; by default the one that `pick` chooses.")
]
Form = Annotated[
    Literal["onnx", "transformers"],
    typer.Option(help="onnx: the measured file of the runtime; transformers: weights to load with torch."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an earlier export in the folder; rename a folder with other files.")
]
Page = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="The page to write; by default STUDY/report.html.")
]
TrialToReport = Annotated[
    int | None,
    typer.Option("--trial", min=0, help="The trial to describe in detail; by default the one that `pick` chooses."),
]
NoAblation = Annotated[
    bool,
    typer.Option("--no-ablation", help="Do not measure the effect of each decision, which takes seconds for each."),
]
NoExamples = Annotated[bool, typer.Option("--no-examples", help="Leave texts of the data out of the page.")]

# measure
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.")]
Reference = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="An exported folder to compare with, for example the teacher; blocks alternate."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of threads; by default as first measured.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Texts per call; by default as first measured.")]
Tokens = Annotated[int | None, typer.Option(min=2, help="Tokens per text; by default as first measured.")]
Device = Annotated[
    str | None, typer.Option(metavar="URL", help="Measure on another machine, by the address of its agent.")
]
TokenEnv = Annotated[str, typer.Option(metavar="NAME", help="The environment variable that holds the agent's token.")]
Ca = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="TLS: trust this certificate of the agent."),
]

# dashboard and agent
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes any free port.")]
Host = Annotated[str, typer.Option(help="The address to listen on; any other than localhost admits other machines.")]
Writable = Annotated[bool, typer.Option("--writable", help="Let visitors rename and delete studies.")]
AgentFolder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="The folder that received models are kept in.")
]
Certificate = Annotated[
    Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="TLS: the certificate, as PEM.")
]
CertificateKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", exists=True, dir_okay=False, help="TLS: the private key, as PEM."),
]
MaxGb = Annotated[
    float,
    typer.Option(min=0.1, help="Largest total size of kept models, in GB; the least recently used are deleted first."),
]
RunGb = Annotated[float, typer.Option(min=0.5, help="Largest memory of one run, in GB.")]
RunSeconds = Annotated[float, typer.Option(min=10, help="Longest time of one run, in seconds.")]

# list and clean
Kind = Annotated[str | None, typer.Argument(metavar="[KIND]", help=f"One of {', '.join(KINDS)}; by default all.")]
Cache = Annotated[bool, typer.Option("--cache", help="Clean the caches of the stages instead of models.")]
Yes = Annotated[bool, typer.Option("--yes", help="Delete the reported folders.")]

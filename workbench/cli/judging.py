"""Commands that say how calls were: one, two settings, many."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.beside import written_beside
from workbench.cli.app import app
from workbench.cli.console import err, out, telling, working
from workbench.cli.files import Capture, NoWords, check_file, check_writable, is_sound, opened
from workbench.links import view_command
from workbench.terminal import (
    print_comparison,
    print_findings,
    print_summary,
    print_survey,
    print_tuning,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from workbench.call import Call


@app.command()
def summary(
    capture: Capture,
    as_json: Annotated[bool, typer.Option("--json", help="Counters as JSON.")] = False,
) -> None:
    """Say what a call was: who, when, how long, formats, levels, turns, and the worst of it."""
    call = opened(capture)
    with working("Measuring"):
        from workbench.diagnosis import diagnose as run

        stats, text = call.stats, call.summary()
        text += "" if as_json else f"\n{'diagnosis:':<12}{run(call).sentence}"
    if as_json:
        print(json.dumps({"duration": call.duration, "finished": call.finished, **stats}, indent=2))
    else:
        print_summary(out, text)


@app.command()
def diagnose(
    capture: Capture,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(help="A capture to compare with: what got better and what got worse."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the findings as JUnit XML, for a CI server.")
    ] = None,
    fail_on: Annotated[
        Literal["info", "warning", "error", "never"],
        typer.Option(
            help="Exit with 1 when a finding (with a baseline: a new or worse one) is so bad."
        ),
    ] = "never",
    no_words: NoWords = False,
) -> None:
    """Find faults: when, how bad, measured what, why, and which setting to change."""
    check_writable(junit)
    with working("Starting"):
        from workbench.diagnosis import diagnose as run
        from workbench.diagnosis import to_junit

    before = opened(baseline) if baseline else None
    found = run(opened(capture, words=not no_words), baseline=before)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        print_findings(out, found)
        if len(found):
            out.print(f"\nTo see and hear it: {view_command(capture, finding=1)}", soft_wrap=True)
    if junit:
        level = "warning" if fail_on == "never" else fail_on
        with written_beside(junit) as part:
            part.write_text(to_junit(found, level, capture.name, capture), encoding="utf-8")
    if fail_on != "never" and found.failures(fail_on):
        raise typer.Exit(1)


@app.command()
def compare(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CAPTURE|SOUND",
            help="A capture, or any sound file of speech.",
            readable=False,
        ),
    ],
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RECORDING]...", help="Further files of the carrier's recording."),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the picture as a PNG.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table as CSV.")] = None,
    recording: Annotated[
        list[Path] | None,
        typer.Option(
            help="The carrier's recording of this call: may tell which leg it really was, and tells "
            "what was lost on the way. Several files of one call: --recording a.wav b.wav",
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The one with the bot, from 0: of the recording (default 1), or of the sound.",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="ENCODING",
            help="What the sound file holds where no header says so: ulaw, alaw, pcm@16000 ...",
        ),
    ] = None,
) -> None:
    """Send the same speech through every outbound setting and far leg, and measure."""
    if picture and picture.suffix.lower() != ".png":
        raise ValueError(f"{picture}: the picture is a PNG, give a name that ends in .png")
    is_audio = is_sound(source)
    files = [*(recording or ()), *(more or ())]
    if more and not recording:
        raise ValueError(f"{more[0]}: a second file is one of a recording: give --recording first")
    if not files and not is_audio:
        for name, value in (("channel", channel), ("as", encoding)):
            if value is not None:
                raise ValueError(f"--{name} is one of a recording: give --recording too")
    check_writable(csv, picture)
    with working("Starting"):
        from workbench import plots
        from workbench.audio import Audio
        from workbench.tuning import carrier_recording
        from workbench.tuning.comparison import compare as run

    spoken: Audio | Call
    with telling():
        if is_audio:
            own = (None, None) if files else (channel, encoding)
            spoken = Audio.read(source, own[0], encoding=own[1])
        else:
            spoken = opened(source)
        recorded = [carrier_recording.read(file, channel, encoding=encoding) for file in files]
    with working("Comparing settings"):
        comparison = run(spoken, recording=recorded or None)
    print_comparison(out, comparison)
    if csv:
        with written_beside(csv) as part:
            comparison.table.to_csv(part, index=False)
        out.print(f"Table: {csv}", soft_wrap=True)
    if picture:
        with written_beside(picture) as part:
            part.write_bytes(plots.png(plots.comparison_overview(comparison).flat[0]))
        out.print(f"Picture: {picture}", soft_wrap=True)


@app.command()
def tune(
    captures: Annotated[
        list[str], typer.Argument(metavar="CAPTURE...", help="Captured calls: files or URLs.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the params as JSON for InputParams.load."),
    ] = None,
    leg: Annotated[
        str,
        typer.Option(
            help="How the far end is reached: G.711 (telephone), G.722 (wideband), AMR-WB 2% ..."
        ),
    ] = "G.711",
    max_kbit_s: Annotated[float | None, typer.Option(help="At most this much on the wire.")] = None,
    max_cushion_ms: Annotated[
        float | None,
        typer.Option(
            min=0, max=1000, help="At most this much later may an answer begin, to hide holes: 200."
        ),
    ] = None,
    recording: Annotated[
        list[Path] | None,
        typer.Option(help="The carrier's recordings, one for each capture, in their order."),
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread the work over this Dask cluster.")
    ] = None,
) -> None:
    """Choose the outbound setting for these calls, say why and how sure."""
    check_writable(output)
    for name in captures:
        check_file(Path(name))
        if "://" not in name and not Path(name).exists():
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), name)
    with working("Starting"):
        from workbench.tuning.batch import tune_captures as run

    from rich.progress import Progress

    given = {"kbit_s": max_kbit_s, "cushion_ms": max_cushion_ms}
    constraints = {name: limit for name, limit in given.items() if limit is not None}
    with cluster(dask) as executor, Progress(console=err) as bar:
        task = bar.add_task("Tuning", total=len(captures))
        result = run(
            captures, constraints=constraints, leg=leg, recordings=recording, executor=executor,
            progress=lambda done, _all: bar.update(task, completed=done),
        )  # fmt: skip
    print_tuning(out, result)
    for name, why in result.skipped.items():
        err.print(f"skipped: {name}: {why}", markup=False, soft_wrap=True)
    if output:
        result.export(output)
        out.print(f"Params: {output}", soft_wrap=True)


@app.command()
def survey(
    captures: Annotated[
        list[str],
        typer.Argument(
            metavar="CAPTURES|FOLDERS|URLS...",
            help="Captured calls, folders of them, URLs of either; or a data set that -o has made.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="calls.parquet",
            help="Keep the calls in this data set; what is in it already is not opened again.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL", help="Tell what changed between calls of different labels: release."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only calls since then: 2026-11-28, 2026-11-28T09:30, 24h, 7d (UTC).",
        ),
    ] = None,
    trend: Annotated[
        Literal["hour", "day"] | None, typer.Option(help="Show how it went, by hour or day.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="So many of the worst calls are named.")] = 10,
    fail_on: Annotated[
        Literal["info", "warning", "error", "never"],
        typer.Option(help="Exit with 1 when a call has a finding that is so bad."),
    ] = "never",
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread the work over this Dask cluster.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Diagnose many calls: which were bad, why, and since when.

    With -o, what is told is of all calls in the data set: limit it with --since.
    """
    with working("Starting"):
        from workbench.surveys import survey as run

    from rich.progress import Progress

    with cluster(dask) as executor, Progress(console=err, transient=True) as bar:
        task = bar.add_task("Surveying", total=None)
        found = run(
            captures, out=output, since=since, executor=executor,
            progress=lambda done, every: bar.update(task, completed=done, total=every),
        )  # fmt: skip
    changed = None
    if by is not None and len(found):
        with working("Comparing groups"):
            changed = found.by(by)
    if as_json:
        told: dict[str, object] = {"trend": found.trend_rows(trend)} if trend else {}
        told |= {"by": changed.as_dict()} if changed else {}
        print(json.dumps(found.as_dict() | told, indent=2))
    else:
        print_survey(out, found, worst=worst, trend=trend, changed=changed)
        if len(found) and out.is_terminal:
            shown = view_command(*([output] if output else captures))
            out.print(f"\nTo see and hear them: {shown}", markup=False, soft_wrap=True)
    if fail_on != "never" and len(found.failures(fail_on)):
        raise typer.Exit(1)


@contextmanager
def cluster(address: str | None) -> Iterator[Executor | None]:
    """Give a Dask cluster's executor; none for the processes of this machine."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--dask needs the extra: pip install 'pipecat-bandwidth[dask]'") from None
    with Client(address, timeout="10s") as client:  # type: ignore[no-untyped-call]
        yield client.get_executor()

"""The command line: thin, every command one call into the package.

Exit codes: 0 done; 1 done, and the answer is bad (a finding as severe as ``--fail-on``, a call that
failed); 2 it could not be done (no such file, not a capture, no such server).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape

from pipecat_bandwidth import __version__
from workbench.beside import written_beside
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
    from workbench.exceptions import SimulationError
    from workbench.simulator import SimulatedCall

app = typer.Typer(
    name="workbench",
    help="Hear, see and tune what a Pipecat bot sends over Bandwidth.",
    epilog="Exit codes: 0 done; 1 done, and the answer is bad; 2 it could not be done.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
#: What a capture begins with, whatever its name.
_MCAP: Final = b"\x89MCAP"
#: What is piped is not wrapped: lines are for a program, or for another width.
_PIPED: Final = 10_000

out = Console(highlight=False, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPED
err = Console(stderr=True, highlight=False, emoji=False)

NoWords = Annotated[
    bool, typer.Option("--no-words", help="Leave out what was said, if the capture holds it.")
]
Capture = Annotated[
    Path,
    typer.Argument(
        metavar="CAPTURE",
        help="A capture (.mcap, or .mcap.part while it is recorded).",
        readable=False,  # it is only the owner's to read, and this program says so shorter
    ),
]


def _say_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say the version and exit."
        ),
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            help="Read files of your own that are larger than files may be, so many times.",
        ),
    ] = None,
) -> None:
    """Take what goes before any command."""
    if budget is not None:
        from workbench.budget import ENVIRONMENT, Budget

        Budget().times(budget)  # refuses what is no factor
        os.environ[ENVIRONMENT] = str(budget)  # for the processes too that this starts


@app.command()
def demo(
    full: Annotated[
        bool,
        typer.Option("--full", help="Play the whole script (139 s), with every planted fault."),
    ] = False,
    choppy: Annotated[
        bool, typer.Option("--choppy", help="Play a short call whose bot stalls in mid-word.")
    ] = False,
    params: Annotated[
        Path | None,
        typer.Option(
            help="Run the call again with these tuned settings, and show before and after."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where everything goes.")] = Path(
        "demo-output"
    ),
) -> None:
    """Place one simulated call to a real bot, then diagnose, compare and tune it.

    Everything is on this machine: Bandwidth's side (webhook, media stream, Voice API) is simulated,
    the bot is a real Pipecat pipeline on a real WebSocket.
    """
    if full and choppy:
        raise ValueError("--full and --choppy are two calls; give one")
    out.print("One simulated phone call: captured, diagnosed, compared, tuned.")
    with working("Starting"):
        from workbench.demo import run_demo

    script = "script" if full else "choppy" if choppy else "demo"
    run_demo(out, output, script=script, params=params)


@app.command()
def simulate(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="The bot's voice webhook, e.g. http://127.0.0.1:7860/webhook."
        ),
    ] = "",
    script: Annotated[
        Path | None, typer.Option(help="What the caller says; the short demo call by default.")
    ] = None,
    speak: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.wav",
            help="What the caller says after the bot has spoken, as recorded; again for more.",
        ),
    ] = None,
    calls: Annotated[
        int, typer.Option(min=1, max=1000, help="Place so many at once; one table tells of all.")
    ] = 1,
    outbound: Annotated[
        bool,
        typer.Option(
            "--outbound",
            help="The bot makes the call, at the Voice API; URL, if given, is posted to first.",
        ),
    ] = False,
    username: Annotated[str, typer.Option(help="HTTP Basic user that the webhook expects.")] = "",
    password: Annotated[
        str, typer.Option(help="Its password.", envvar="WORKBENCH_WEBHOOK_PASSWORD")
    ] = "",
    jitter_ms: Annotated[
        float, typer.Option(min=0, help="Random delay of each media message, up to this.")
    ] = 0.0,
    loss: Annotated[
        float, typer.Option(min=0, max=1, help="Share of media messages that never arrive.")
    ] = 0.0,
    duplicates: Annotated[
        float, typer.Option(min=0, max=1, help="Share of media messages sent twice.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Of the random faults: the same seed gives the same call.")
    ] = 0,
    timeout: Annotated[
        float,
        typer.Option(min=1, help="End the call after this many seconds; bounds its requests too."),
    ] = 300.0,
    voice_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Where the Voice API and token endpoint listen; 8378 by default, if it is free.",
        ),
    ] = None,
    connect_to: Annotated[
        str,
        typer.Option(
            metavar="[ws://]HOST:PORT",
            help="Where connections to hosts go that only the BXML names (a tunnel's); with ws:// "
            "there is no TLS there.",
        ),
    ] = "",
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of certificates to trust beside the system's.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Check no certificate of the bot.")
    ] = False,
) -> None:
    """Call a bot's server as Bandwidth would: webhook, BXML, WebSocket, media in real time.

    The Voice API and the token endpoint are there too; what to export for the bot is printed.

    Exits with 1 when a call failed, and says why; with 2 when there was none: no such server.
    """
    if script and speak:
        raise ValueError("--script and --speak are two callers; give one")
    if outbound and calls > 1:
        raise ValueError("--outbound is one call: the bot makes it")
    if url and not (connect_to or ca):  # what those lack is said first
        check_reached(url)
    if not url and not outbound:
        raise ValueError("simulate whom? Give the bot's voice webhook")
    with working("Starting"):
        from workbench.demo import simulate_call, simulate_calls
        from workbench.exceptions import NotReached, SimulationError
        from workbench.simulator import Line, Route, Script

    said = Script.load(script) if script else Script.spoken(*speak) if speak else None
    options: dict[str, Any] = {
        "username": username, "password": password, "timeout": timeout, "voice_port": voice_port,
        "line": Line(jitter_ms=jitter_ms, loss=loss, duplicates=duplicates, seed=seed),
        "route": Route(connect_to, ca, insecure),
    }  # fmt: skip
    outcomes: list[SimulatedCall | SimulationError] = []
    try:
        if calls > 1:
            outcomes += simulate_calls(out, calls, url, said, **options)
        else:
            outcomes.append(simulate_call(out, url, said, outbound=outbound, **options))
    except NotReached:
        raise
    except SimulationError as error:
        err.print(f"workbench: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if all(isinstance(outcome, NotReached) for outcome in outcomes):
        raise typer.Exit(2)
    if any(isinstance(o, SimulationError) or o.problems() for o in outcomes):
        raise typer.Exit(1)


@app.command()
def attach(
    where: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the captures go; made if it is not there.")
    ] = Path("captures"),
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What tells these calls from others; several."),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Record what is said, too.")] = False,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="What to take out of the words, beside numbers; several."
        ),
    ] = None,
) -> None:
    """Record the calls of a bot that is not changed: print the setup file to start it with.

    PIPECAT_SETUP_FILES=$(workbench attach --where captures/) python bot.py
    """
    from workbench.attach import check_pipecat, write_setup_file

    labels = dict(pair.partition("=")[::2] for pair in label or ())
    if "" in labels or not all("=" in pair for pair in label or ()):
        raise ValueError(f"--label {' '.join(label or ())}: a label is NAME=VALUE")
    if redact and not words:
        raise ValueError("--redact is of what is said: give --words too")
    check_pipecat()
    print(write_setup_file(where, labels=labels, words=words, redact=redact or ()))


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


@app.command()
def view(
    captures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CAPTURES|FOLDERS|calls.parquet]...",
            help="Captured calls, folders of them, or a data set that survey -o has made; by default "
            "captures/, or this folder.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Of one capture: begin there.")
    ] = None,
    finding: Annotated[
        int | None,
        typer.Option(min=1, help="Of one capture: show this finding, 1 for the worst."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; by default where there is room.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open no browser.")
    ] = False,
    no_words: NoWords = False,
) -> None:
    """Show calls in the browser: the list, and for each call the player that Jupyter has.

    Only this machine is answered, and only who has the address; nothing is fetched from elsewhere.
    What you note at a call is kept beside it, in call.mcap.notes.json.
    """
    given = captures or (["captures"] if Path("captures").is_dir() else ["."])
    for name in given:
        if "://" not in name and not Path(name).exists():
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), name)
    if (at is not None or finding is not None) and (len(given) > 1 or Path(given[0]).is_dir()):
        raise ValueError("--at and --finding are of one call: give one capture")
    with working("Starting"):
        from workbench.links import fragment
        from workbench.view import serve

    def ready(address: str) -> None:
        out.print(f"Calls: {address}", markup=False, soft_wrap=True)
        out.print("Ctrl-C ends it.", style="dim")

    place = fragment(at, finding)
    browser, words = not no_browser, not no_words
    serve(given, place=place, port=port, browser=browser, words=words, ready=ready)


@app.command()
def replay(
    capture: Capture,
    params: Annotated[
        Path | None, typer.Option(help="Settings to send it with; those of the capture by default.")
    ] = None,
    must_be_same: Annotated[
        bool, typer.Option("--assert-same", help="Exit with 1 if anything comes out otherwise.")
    ] = False,
) -> None:
    """Give a captured call to the serializer again: are its messages the same, bit for bit?"""
    with working("Starting"):
        from pipecat_bandwidth import BandwidthFrameSerializer
        from workbench.call.replay import replay as replayed

    settings = BandwidthFrameSerializer.InputParams.load(params) if params else None
    call = opened(capture)
    with working("Replaying"):
        found = replayed(call, settings)
    out.print(str(found), markup=False)
    if must_be_same and not found:
        raise typer.Exit(1)


@app.command()
def report(
    capture: Capture,
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file.")] = Path(
        "report.html"
    ),
    show_ids: Annotated[
        bool, typer.Option("--show-ids", help="Show call, stream and account ids whole.")
    ] = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave all sound out.")] = False,
    mute: Annotated[
        Literal["caller", "bot"] | None,
        typer.Option(help="Leave the voice of one side out, and its words."),
    ] = None,
    recording: Annotated[
        list[Path] | None,
        typer.Option(help="The carrier's recording of this call, to be seen and heard."),
    ] = None,
    no_words: NoWords = False,
) -> None:
    """Write one HTML file with everything about a call: opens offline, can be mailed."""
    if output.parent.is_dir():  # otherwise it is made
        check_writable(output)
    with working("Starting"):
        from workbench.diagnosis import diagnose as run_diagnose
        from workbench.exceptions import NothingSaid
        from workbench.report import write_report
        from workbench.tuning import carrier_recording
        from workbench.tuning.comparison import compare as run_compare
        from workbench.tuning.tuning import tune as run_tune

    sides = () if no_audio else tuple(side for side in ("caller", "bot") if side != mute)
    call = opened(capture, words=not no_words)
    found = run_diagnose(call)
    comparison = tuning = None
    with telling():
        recorded = [carrier_recording.read(file) for file in recording or ()]
    try:
        if call.carrier.is_ours:  # others have no such settings
            with working("Comparing settings"):
                comparison = run_compare(call, recording=recorded or None)
            with working("Tuning"):
                tuning = run_tune([call])
    except NothingSaid:
        out.print("The bot said nothing: there are no settings to compare.")
    with working("Drawing"):
        write_report(
            output,
            call,
            found,
            comparison,
            tuning,
            show_ids=show_ids,
            sides=sides,
            words=tuple(side for side in ("caller", "bot") if side != mute),
        )
    out.print(f"Report: {output} ({output.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)


@app.command()
def export(
    capture: Capture,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="A file, its kind told by the suffix, or a folder."),
    ] = Path("."),
    kind: Annotated[
        Literal["wav", "flac", "pcap", "labels", "csv", "webvtt", "textgrid"] | None,
        typer.Option(
            "--format",
            help="wav, flac: sound; pcap: Wireshark; labels: Audacity; csv; of words: webvtt, "
            "textgrid (Praat).",
        ),
    ] = None,
    signals: Annotated[
        str, typer.Option(help="Channels of wav and flac, of the call's five signals.")
    ] = "caller_sent,caller_heard",
    no_words: NoWords = False,
    rate: Annotated[
        int | None,
        typer.Option(min=8000, max=48000, help="Of wav and flac, in Hz; the signals' own if left."),
    ] = None,
) -> None:
    """Write a call in forms that other programs open: WAV, FLAC, RTP for Wireshark, labels, CSV."""
    if output.suffix and not output.is_dir():  # otherwise it is a folder, which is made
        check_writable(output)
    with working("Starting"):
        from workbench.diagnosis import diagnose as run_diagnose
        from workbench.exports import export as run

    call = opened(capture, words=not no_words)
    found = run_diagnose(call) if kind in (None, "labels", "csv") else ()
    names = tuple(name.strip() for name in signals.split(",") if name.strip())
    with working("Exporting"):
        paths = run(call, output, kind, findings=found, signals=names, sample_rate=rate)
    for path in paths:
        out.print(str(path), soft_wrap=True)


def opened(capture: Path, words: bool = True) -> Call:
    """Open a capture; of a long call that takes some seconds."""
    check_file(capture)
    with working(f"Opening {capture.name}"):
        from workbench.call import Call
        from workbench.exceptions import CaptureError

        try:
            return Call.open(capture, words=words)
        except CaptureError as error:
            if capture.exists() and is_sound(capture):
                raise ValueError(
                    f"{capture}: a sound file, and no capture of a call; compare takes sound files"
                ) from error
            finished = capture.with_suffix("")
            if capture.suffix != ".part" or capture.exists() or not finished.exists():
                raise
            return Call.open(finished, words=words)  # the call ended meanwhile


def is_sound(path: Path) -> bool:
    """Whether a file is to be read as sound: it is no capture by its name, nor by its first bytes."""
    if path.suffix.lower() in {".mcap", ".part"}:
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_MCAP)) != _MCAP
    except OSError:
        return path.suffix.lower() in {".wav", ".flac"}


@contextmanager
def telling() -> Iterator[None]:
    """Say in a line each what is wrong with a sound file that was read all the same."""
    from workbench.exceptions import SoundFileWarning

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SoundFileWarning)
        yield
    for warning in told:
        if issubclass(warning.category, SoundFileWarning):
            err.print(f"workbench: {warning.message}", markup=False, soft_wrap=True)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def check_reached(url: str) -> None:
    """Refuse an address where nobody listens, before the packages are loaded that call it."""
    try:
        parts = urlsplit(url)
        place = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return  # what it lacks is said by who calls it
    if not place[0]:
        return
    try:
        socket.create_connection(place, timeout=5).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ValueError(
            f"webhook: no answer from {url}: {why}: is the bot started, and there?"
        ) from None


def check_file(capture: Path) -> None:
    """Refuse a folder."""
    if capture.is_dir():
        raise ValueError(f"{capture}: is a folder; give a capture, such as {capture / '*.mcap'}")


def check_writable(*files: Path | None) -> None:
    """Refuse a file that cannot be made, before the work is done that it is for."""
    for file in files:
        if file and not file.parent.is_dir():
            raise ValueError(f"{file}: no such folder")
        if file and file.is_dir():
            raise ValueError(f"{file}: is a folder; give a file in it")


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


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is under way, on a terminal."""
    with err.status(f"{escape(what)}..."):
        yield


def main() -> None:
    """Run; print an expected failure as one line."""
    # Pipecat greets with a log line when it is imported, here and in the processes that this starts.
    os.environ.setdefault("LOGURU_LEVEL", "WARNING")
    os.environ.setdefault("LOGURU_FORMAT", "{level}: {message}")
    try:
        app()
    except Exception as error:
        if not isinstance(error, (OSError, ValueError)):
            from workbench.exceptions import WorkbenchError

            if not isinstance(error, WorkbenchError):
                raise
        text = str(error)
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            text = f"{error.filename}: {error.strerror}"
        err.print(f"workbench: {text}", markup=False, soft_wrap=True)
        sys.exit(2)


__all__ = ["app", "main"]

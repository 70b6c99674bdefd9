"""Commands that show a call or hand it on: in the browser, as a report, as files."""

from __future__ import annotations

import os
from errno import ENOENT
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.app import app
from workbench.cli.console import out, telling, working
from workbench.cli.files import Capture, NoWords, check_writable, opened

if TYPE_CHECKING:
    pass


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

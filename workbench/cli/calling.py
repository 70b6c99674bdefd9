"""Commands that make calls, or record them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from workbench.cli.app import app
from workbench.cli.console import err, out, working

if TYPE_CHECKING:
    from workbench.exceptions import SimulationError
    from workbench.simulator import SimulatedCall


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

"""Calls to any bot's server, from the command line: placed, and told of in a table."""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from workbench.exceptions import SimulationError
from workbench.simulator import Line, Script, SimulatedCall, VoiceAPIServer, simulate
from workbench.simulator import Progress as CallProgress
from workbench.simulator.truth import Played
from workbench.simulator.voice_api import Request

__all__ = ["LATE_MS", "VOICE_PORT", "samples", "simulate_call", "simulate_calls", "with_progress"]

#: Where the simulated Voice API listens if it can, so that a bot can be started before the call.
VOICE_PORT: Final = 8378

#: A verb of the BXML that is shorter takes no time.
_LEAST_SECS: Final = 0.05
#: Kinds of protocol errors that are printed.
_KINDS: Final = 5
#: Pipecat's transport keeps 40 to 80 ms ahead: a machine that is later than that chops speech.
LATE_MS: Final = 40.0

T = TypeVar("T")


def samples() -> Path:
    """Folder of the scripts and voices: beside the package in a checkout, inside it in a wheel."""
    here = Path(__file__).parents[1]
    inside = here / "sample_audio"
    return inside if inside.is_dir() else here.parent / "sample_audio"


def simulate_call(
    console: Console,
    url: str,
    script: Script | None = None,
    *,
    voice_port: int | None = None,
    timeout: float = 300.0,
    **options: Any,
) -> SimulatedCall:
    """Call any bot's server as Bandwidth would, and print what happened.

    The Voice API and the token endpoint are simulated too, for any credentials.

    Args:
        console: Where to print.
        url: The bot's voice webhook.
        script: What the caller says; the short demo call by default.
        voice_port: Where the Voice API listens; if it can, at :data:`VOICE_PORT` by default.
        timeout: Seconds after which the caller hangs up.
        options: Others of :func:`workbench.simulator.simulate`.

    Raises:
        SimulationError: If the call failed; it names the step and what came back.
        ValueError: If another listens on ``voice_port``.
    """
    spoken = script or Script.load(samples() / "call" / "demo.json")
    requests: list[Request] = []

    async def call(on_progress: Callable[[CallProgress], None]) -> SimulatedCall:
        async with _voice_api(voice_port) as server:
            _print_addresses(console, server)
            server.requests = requests
            return await simulate(
                url, spoken, max_secs=timeout, voice_api=server, on_progress=on_progress, **options
            )

    truth = with_progress(console, call)
    _print_call(console, truth, requests)
    return truth


def simulate_calls(
    console: Console,
    count: int,
    url: str,
    script: Script | None = None,
    *,
    voice_port: int | None = None,
    timeout: float = 300.0,
    line: Line | None = None,
    **options: Any,
) -> list[SimulatedCall | SimulationError]:
    """Place so many calls at once, and print one table.

    Args:
        console: Where to print.
        count: How many. The random faults of each have a seed of their own.
        url: As for :func:`simulate_call`, like all that follows.
        script: What each caller says.
        voice_port: Where the Voice API of all listens.
        timeout: Seconds after which the callers hang up.
        line: How bad the lines are.
        options: Others of :func:`workbench.simulator.simulate`.

    Returns:
        What each was, or what it failed with.
    """
    spoken = script or Script.load(samples() / "call" / "demo.json")
    lines = [
        dataclasses.replace(line or Line(), seed=(line or Line()).seed + n) for n in range(count)
    ]

    async def calls(
        on_progress: Callable[[CallProgress], None],
    ) -> list[SimulatedCall | SimulationError]:
        async with _voice_api(voice_port) as server:
            _print_addresses(console, server)
            placed = (
                simulate(
                    url, spoken, max_secs=timeout, voice_api=server, line=each,
                    on_progress=None if number else on_progress, **options,
                )
                for number, each in enumerate(lines)
            )  # fmt: skip
            done = await asyncio.gather(*placed, return_exceptions=True)
        for outcome in done:
            if not isinstance(outcome, SimulatedCall | SimulationError):
                raise outcome
        return [outcome for outcome in done if isinstance(outcome, SimulatedCall | SimulationError)]

    outcomes = with_progress(console, calls)
    _print_calls(console, outcomes)
    return outcomes


def _print_call(console: Console, truth: SimulatedCall, requests: Sequence[Request]) -> None:
    table = Table(show_header=False)
    gaps = truth.response_gaps().values()
    for name, value in {
        "stream": f"{truth.duration:.1f} s, close code {truth.close_code}",
        "BXML": ", ".join(map(_played, truth.verbs)),
        "end of the call": truth.ending,
        "caller said": f"{sum(turn.side == 'caller' for turn in truth.turns)} of {len(truth.planned)} turns",
        "bot said": f"{truth.said_secs:.2f} s, {truth.discarded_secs:.2f} s of it thrown away by clear",
        "underruns inside speech": f"{len(truth.underruns)}, {sum(s for _, s in truth.underruns) * 1000:.0f} ms in all",
        "bot answers after": ", ".join(f"{gap:.2f} s" for gap in gaps) or "never",
        "protocol errors": _grouped(truth.protocol_errors) or "none",
        "Voice API": ", ".join(f"{r.operation or 'other'} {r.status or 'reset'}" for r in requests)
        or "no request: the bot does not hang up, or not here",
    }.items():
        table.add_row(name, Text(value))  # Some of it is the bot's: no markup.
    console.print(table)
    for problem in truth.problems():
        console.print(f"problem: {problem}", markup=False, style="red")


def _print_calls(console: Console, outcomes: Sequence[SimulatedCall | SimulationError]) -> None:
    table = Table()
    for heading in ("call", "stream", "turns", "bot answers after", "holes", "end of the call"):
        table.add_column(heading)
    for number, outcome in enumerate(outcomes, 1):
        if isinstance(outcome, SimulationError):
            table.add_row(str(number), "", "", "", "", Text(f"failed: {outcome}", style="red"))
            continue
        problems = "".join(f"\n{problem}" for problem in outcome.problems())
        said = sum(turn.side == "caller" for turn in outcome.turns)
        table.add_row(
            str(number),
            f"{outcome.duration:.1f} s",
            f"{said} of {len(outcome.planned)}",
            _waits(list(outcome.response_gaps().values())),
            _holes(outcome),
            Text(outcome.ending + problems, style="red" if problems else ""),
        )
    console.print(table)
    calls = [outcome for outcome in outcomes if isinstance(outcome, SimulatedCall)]
    waits = [gap for call in calls for gap in call.response_gaps().values()]
    sound = sum(not call.problems() for call in calls)
    holes = sum(len(call.underruns) for call in calls)
    console.print(
        f"{sound} of {len(outcomes)} calls without a problem; the bot answers after {_waits(waits)}; "
        f"{holes} holes in its speech"
    )
    late = max((call.late_ms for call in calls), default=0.0)
    if late > LATE_MS:
        console.print(
            f"This machine was up to {late:.0f} ms late in playing the callers' part: fewer calls at "
            "once are truer.",
            style="yellow",
        )


def _waits(secs: Sequence[float]) -> str:
    """The median, and the longest."""
    if not secs:
        return "never"
    most = f", at most {max(secs):.2f} s" if len(secs) > 1 else ""
    return f"{statistics.median(secs):.2f} s{most}"


def _holes(call: SimulatedCall) -> str:
    ms = sum(secs for _, secs in call.underruns) * 1000
    return f"{len(call.underruns)}, {ms:.0f} ms" if call.underruns else "none"


@asynccontextmanager
async def _voice_api(port: int | None) -> AsyncIterator[VoiceAPIServer]:
    """Serve on a port; on the usual one, or where that is taken any other, if none is given."""
    async with AsyncExitStack() as stack:
        try:
            listening = VoiceAPIServer(VOICE_PORT if port is None else port, any_client=True)
            server = await stack.enter_async_context(listening)
        except OSError as error:
            if port is not None:
                raise ValueError(f"--voice-port {port}: {error.strerror}") from None
            server = await stack.enter_async_context(VoiceAPIServer(any_client=True))
        yield server


def _print_addresses(console: Console, server: VoiceAPIServer) -> None:
    """Say what a bot's environment needs, so that it hangs up here and not a real call."""
    console.print(
        "Voice API of this call; a bot of this package hangs up here if it was started with"
    )
    for name, value in {
        "BANDWIDTH_VOICE_URL": server.base_url,
        "BANDWIDTH_TOKEN_URL": server.token_url,
    }.items():
        console.print(f"  export {name}={value}", soft_wrap=True, highlight=False)


def _played(verb: Played) -> str:
    return f"<{verb.verb}> {verb.secs:.1f} s" if verb.secs >= _LEAST_SECS else f"<{verb.verb}>"


def _grouped(errors: Sequence[tuple[float, str]]) -> str:
    """One line for each kind of error, with its number and its first time; the first few kinds."""
    kinds: dict[str, list[float]] = {}
    for time, text in errors:
        kinds.setdefault(text[:200], []).append(time)
    lines = [f"{len(times)} x {text}, first at {times[0]:.2f} s" for text, times in kinds.items()]
    if len(lines) > _KINDS:
        lines[_KINDS:] = [f"and {len(lines) - _KINDS} other kinds"]
    return "\n".join(lines)


def with_progress(console: Console, call: Callable[..., Awaitable[T]], name: str = "") -> T:
    """Run a call under a progress bar that says who speaks."""
    columns = (
        SpinnerColumn(),
        BarColumn(20, table_column=Column(width=20)),
        TimeElapsedColumn(table_column=Column(width=7)),
        # Takes the room that the others leave, and is cut to it.
        TextColumn(
            "{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
    )
    with Progress(*columns, console=console, expand=True) as bar:
        prefix = f"[bold]{name}[/bold] " if name else ""
        task = bar.add_task(f"{prefix}calling", total=None)

        def on_progress(progress: CallProgress) -> None:
            text = {"description": f"{prefix}{escape(progress.text)}"} if progress.text else {}
            bar.update(task, completed=progress.time, total=progress.expected, **text)  # type: ignore[arg-type]

        async def run() -> T:
            return await call(on_progress=on_progress)

        result = asyncio.run(run())
        done = bar.tasks[0].completed
        bar.update(task, description=f"{prefix}call over", total=done, completed=done)
    return result

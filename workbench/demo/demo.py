"""The demo: one simulated call through everything, and the outcome.

The call is real in all but the phone network: an HTTP webhook, a WebSocket, audio on a real clock,
a real Pipecat pipeline with voice activity detection, a real HTTP hang-up.
"""

from __future__ import annotations

import asyncio
import functools
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from loguru import logger
from rich.console import Console
from rich.table import Table

from pipecat_bandwidth import BandwidthFrameSerializer
from pipecat_bandwidth.voice_api import VoiceAPI
from workbench.call import Call
from workbench.demo.bot import create_app, serve
from workbench.demo.calling import LATE_MS, samples, with_progress
from workbench.diagnosis import Findings, diagnose
from workbench.links import view_command
from workbench.report import write_report
from workbench.report.report import holes_heard
from workbench.simulator import Progress as CallProgress
from workbench.simulator import Script, SimulatedCall, VoiceAPIServer, simulate
from workbench.simulator.script import LoopBlock, SpeechStall
from workbench.tap import Tap
from workbench.terminal import print_comparison, print_findings, print_summary, print_tuning
from workbench.tuning.comparison import Comparison, compare
from workbench.tuning.tuning import TuningResult, tune

__all__ = ["Demo", "record_call", "run_demo", "samples"]

#: Counters of a call that a setting may change, and how they are headed.
_COMPARED: Final = {
    "wire_out_hz": "rate on the wire (Hz)",
    "outbound_kbit_s": "on the wire (kbit/s)",
    "bot_said_ms": "bot said (ms)",
    "bot_sent_ms": "bot sent (ms)",
    "caller_heard_ms": "caller heard (ms)",
    "underruns": "underruns",
    "underrun_ms": "silence inside words (ms)",
    "mean_lead_ms": "far end's queue, mean (ms)",
    "median_response_ms": "bot answers after, median (ms)",
    "bot_level_dbov": "bot's level (dBov)",
}

InputParams = BandwidthFrameSerializer.InputParams
T = TypeVar("T")
R = TypeVar("R")

_USERNAME: Final = "demo"
_PASSWORD: Final = "only-on-loopback"


@dataclass(frozen=True)
class Demo:
    """What a demo leaves behind.

    Parameters:
        call: The call, opened from its capture.
        truth: What truly happened at the far end.
        findings: Worst first.
        comparison: The same speech through every setting.
        tuning: The setting to use.
        report: The HTML file.
        params: The tuned settings, as JSON.
    """

    call: Call
    truth: SimulatedCall
    findings: Findings
    comparison: Comparison
    tuning: TuningResult
    report: Path
    params: Path


async def record_call(
    script: Script,
    folder: Path,
    params: InputParams | None = None,
    *,
    on_progress: Callable[[CallProgress], None] | None = None,
    audio_in_sample_rate: int = 16000,
    audio_out_sample_rate: int = 24000,
) -> tuple[Path, SimulatedCall]:
    """Place one call to the demo's bot and record it.

    Args:
        script: What both sides say.
        folder: Where the capture goes.
        params: The serializer's.
        on_progress: Told of every turn, and of every second.
        audio_in_sample_rate: The pipeline's rate for the caller's audio, in hertz.
        audio_out_sample_rate: The pipeline's rate for the bot's audio, in hertz.

    Returns:
        The capture, closed, and what truly happened.

    Raises:
        SimulationError: If the call failed.
    """
    taps: list[Tap] = []

    def tapped(serializer: BandwidthFrameSerializer) -> Tap:
        taps.append(Tap(serializer, folder))
        return taps[-1]

    @asynccontextmanager
    async def bot(far: VoiceAPIServer) -> AsyncIterator[str]:
        async with VoiceAPI(
            far.client_id, far.client_secret, base_url=far.base_url, token_url=far.token_url
        ) as near:
            app = create_app(
                script, voice_api=near, username=_USERNAME, password=_PASSWORD, params=params,
                wrap=tapped, audio_in_sample_rate=audio_in_sample_rate,  # type: ignore[arg-type]
                audio_out_sample_rate=audio_out_sample_rate,
            )  # fmt: skip
            async with serve(app) as url:
                yield url

    async with VoiceAPIServer() as far, _apart(bot(far)) as url:
        truth = await simulate(
            f"{url}/webhook", script, username=_USERNAME, password=_PASSWORD,
            status_url=f"{url}/webhook", voice_api=far, on_progress=on_progress,
        )  # fmt: skip
    await asyncio.to_thread(taps[0].close)
    return folder / taps[0].path.name, truth


@asynccontextmanager
async def _apart(context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter a context on an event loop of its own: what blocks there does not hold up this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bot", daemon=True)
    thread.start()

    async def there(coroutine: Coroutine[Any, Any, R]) -> R:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))

    try:
        entered = await there(context.__aenter__())
        try:
            yield entered
        finally:
            await there(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


def run_demo(
    console: Console, output: Path, *, script: str = "demo", params: Path | None = None
) -> Demo:
    """Run it and print what a newcomer should see.

    Args:
        console: Where to print.
        output: Folder for the capture, the report and the params.
        script: Name of one of the scripts in ``sample_audio/call``.
        params: Settings from an earlier demo: the call is placed with them, after one without.

    Returns:
        What it leaves behind.
    """
    tuned = InputParams.load(params) if params else None
    spoken = Script.load(samples() / "call" / f"{script}.json")
    captures = output / "captures"
    console.print(f"[bold]{spoken.title}[/bold], {spoken.duration:.0f} s in real time\n")
    with _quiet_log(output):
        before, truth = _placed(console, spoken, captures, None, "before" if tuned else "")
        demo = _analysed(console, before, truth, output)
        after = Call.open(_placed(console, spoken, captures, tuned, "after")[0]) if tuned else None
        if after:
            told = demo.findings, demo.comparison, demo.tuning
            write_report(demo.report, demo.call, *told, after=after)
    _print_outcome(console, demo)
    if after:
        console.print(f"{'after:':<14}{after.path}\n", soft_wrap=True)
        if tuned == InputParams():
            console.print("The tuned settings are those in use before: what differs is chance.")
        _print_before_and_after(console, spoken, demo.call, after)
    return demo


# -- steps -------------------------------------------------------------------------------------


def _placed(
    console: Console, script: Script, folder: Path, params: InputParams | None, name: str
) -> tuple[Path, SimulatedCall]:
    call = functools.partial(record_call, script, folder, params)
    return with_progress(console, call, name)


def _analysed(console: Console, capture: Path, truth: SimulatedCall, output: Path) -> Demo:
    with console.status("Rebuilding the call"):
        call = Call.open(capture)
    with console.status("Diagnosing"):
        findings = diagnose(call)
    with console.status("Sending the same speech through every setting"):
        comparison = compare(call)
    with console.status("Choosing a setting"):
        tuning = tune([call])
    params = output / "tuned.json"
    tuning.export(params)
    with console.status("Writing the report"):
        report = write_report(output / "report.html", call, findings, comparison, tuning)
    return Demo(call, truth, findings, comparison, tuning, report, params)


@contextmanager
def _quiet_log(output: Path) -> Iterator[None]:
    """Send the log to a file, and only what is wrong to the terminal."""
    output.mkdir(parents=True, exist_ok=True)
    logger.remove()
    terminal = logger.add(sys.stderr, level="ERROR")
    file = logger.add(output / "demo.log", level="DEBUG", mode="w")
    try:
        yield
    finally:
        logger.remove(file)
        logger.remove(terminal)


# -- printing ----------------------------------------------------------------------------------


def _print_outcome(console: Console, demo: Demo) -> None:
    print_summary(console, demo.call.summary())
    console.print()
    print_findings(console, demo.findings)
    console.print()
    print_comparison(console, demo.comparison)
    console.print()
    print_tuning(console, demo.tuning)
    if demo.truth.late_ms > LATE_MS:
        console.print(
            f"This machine was up to {demo.truth.late_ms:.0f} ms late in playing the far end's part: "
            "jitter of this call, and holes that the script did not plant, may be the machine's own.",
            style="yellow",
        )
    console.print()
    for name, path in {
        "capture": demo.call.path, "report": demo.report, "tuned params": demo.params,
    }.items():  # fmt: skip
        console.print(f"{name + ':':<14}{path}", soft_wrap=True)
    console.print(f"{'to look at:':<14}{view_command(demo.report.parent)}", soft_wrap=True)


def _print_before_and_after(console: Console, spoken: Script, before: Call, after: Call) -> None:
    table = Table(title="Before and after", title_justify="left")
    for heading, right in (("", False), ("before", True), ("after", True)):
        table.add_column(heading, justify="right" if right else "left")
    formats = [InputParams.model_validate(call.params) for call in (before, after)]
    table.add_row("encoding", *(form.outbound_encoding for form in formats))
    for name, heading in _COMPARED.items():
        pair = before.stats.get(name, math.nan), after.stats.get(name, math.nan)
        table.add_row(heading, *map(_figure, pair))
    table.add_row("cushion (ms)", *(str(form.outbound_cushion_ms) for form in formats))
    table.add_row("findings", *(str(len(diagnose(call))) for call in (before, after)))
    console.print(table)
    for line in _planted(spoken, before, after):
        console.print(line, markup=False)


def _planted(script: Script, before: Call, after: Call) -> list[str]:
    """Which of the stalls that the script plants were heard, before and after."""
    if not any(isinstance(event, SpeechStall | LoopBlock) for event in script.events):
        return []
    pair = ("before", before), ("after", after)
    stalls = [
        f"{event.stall_ms:.0f} ms{' (the whole process)' if isinstance(event, LoopBlock) else ''}"
        for event in script.events
        if isinstance(event, SpeechStall | LoopBlock)
    ]
    left, there = len(holes_heard(after)), len(holes_heard(before))
    rest = f"{left} {'is' if left == 1 else 'are'} left" if left else "none is left"
    return [
        f"Planted by the script: stalls of {', '.join(stalls)}.",
        *(f"Holes {name}: {', '.join(holes_heard(call)) or 'none'}." for name, call in pair),
        f"Of {there} holes {rest}.",
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

"""Running the detectors over a call, and hearing what they found.

::

    found = diagnose(call)
    print(found)                     # a sentence, then one line for each
    excerpt(call, found[0])          # hear the worst
"""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from workbench.audio import Audio
from workbench.call import Call
from workbench.call.answers import grown
from workbench.diagnosis import coverage
from workbench.diagnosis.arbitration import arbitrated
from workbench.diagnosis.baseline import changes
from workbench.diagnosis.detectors import DETECTORS, readings
from workbench.diagnosis.detectors.encoding import declared
from workbench.diagnosis.finding import Finding
from workbench.diagnosis.findings import Findings
from workbench.diagnosis.harm import rank
from workbench.diagnosis.quoting import checked, quoted

__all__ = ["AROUND", "diagnose", "excerpt"]

#: Heard before and after a finding, and at most of it, in seconds.
AROUND, LONGEST = 1.0, 10.0

#: Asked whatever is wanted: nobody knows what happened where the recording has holes.
_ALWAYS: Final = "capture_dropped"
#: Calls longer than this, in seconds, are not diagnosed in an instant: 10 minutes take 2 s.
_LONG: Final = 300.0
#: What all detectors build on and takes longest, in detectors: done first, it moves the bar evenly.
_GROUNDWORK: Final = {"caller_heard": 3, "bot_speech": 40, "caller_speech": 40, "stats": 5}


def diagnose(
    call: Call, kinds: Collection[str] | None = None, *, baseline: Call | None = None
) -> Findings:
    """Run the detectors over a call.

    The order is that of the person on the phone: first what does most harm, see
    :mod:`workbench.diagnosis.harm`. Of a long call, a terminal or a notebook shows how far it is.

    Args:
        call: The call.
        kinds: Those wanted; by default all of :data:`workbench.diagnosis.detectors.DETECTORS`.
        baseline: A call to compare with: what got better and what got worse.

    Returns:
        The findings, worst first; none for a call that is sound.

    Raises:
        ValueError: For a kind that there is no detector for.

    Warns:
        RuntimeWarning: If a detector fails; what the others find is there all the same.

    Example::

        >>> worst = diagnose(Call.open("sample_audio/captures/choppy.mcap"))[0]
        >>> worst.kind, worst.side, worst.severity, worst.when
        ('underrun', 'bot', 'error', '9.68–13.44 s')
    """
    unknown = set(kinds or ()) - DETECTORS.keys()
    if unknown:
        raise ValueError(f"no detector {sorted(unknown)}, there are: {', '.join(DETECTORS)}")
    wanted = DETECTORS.keys() if kinds is None else set(kinds)
    untold = coverage.untold(call.carrier)
    asked = [n for n in DETECTORS if (n in wanted or n == _ALWAYS) and n not in untold]
    groundwork = _GROUNDWORK if kinds is None else {}
    found: list[Finding] = []
    failed: dict[str, str] = {}
    with _progress(call, sum(groundwork.values()) + len(asked)) as advance:
        for name, steps in groundwork.items():
            getattr(call, name)
            call.let_go()
            advance(steps)
        for name in asked:
            try:
                found += DETECTORS[name](call)
            except Exception as error:
                failed[name] = f"failed: {error!r}"
                text = f"the detector {name} failed: {error!r}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            call.let_go()
            advance(1)
    judged = arbitrated(sorted(found, key=rank), call.duration, DETECTORS)
    kept = tuple(
        quoted(call, checked(call, f)) for f in judged if f.kind in wanted or f.kind != _ALWAYS
    )
    not_asked = dict.fromkeys(DETECTORS.keys() - wanted, "was not asked for")
    left = coverage.unjudged(call, judged, not_asked | failed)
    is_silent = not len(call.inbound) and not len(call.outbound)
    against = None
    if baseline is not None:
        before = diagnose(baseline, kinds)
        more = grown(baseline.answers, call.answers)
        against = changes(before, kept, baseline.duration, call.duration, more)
    return Findings(kept, against, is_silent, is_whole=kinds is None, unjudged=left)


@contextmanager
def _progress(call: Call, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while a long call is worked on, to whoever watches; on stderr, gone afterwards."""
    if call.duration < _LONG:
        yield lambda steps: None
        return
    from rich import markup
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    console = Console(stderr=True)
    is_watched = console.is_interactive or console.is_jupyter
    # From another thread it would come out in whatever cell runs just then.
    is_watched &= threading.current_thread() is threading.main_thread()
    is_watched &= multiprocessing.parent_process() is None  # who spreads work shows its own
    if not is_watched:
        yield lambda steps: None
        return
    columns = SpinnerColumn(), *Progress.get_default_columns()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"Diagnosing {markup.escape(call.path.name)}", total=total)
        yield lambda steps: bar.advance(task, steps)


def excerpt(call: Call, finding: Finding, *, as_meant: bool = False) -> Audio:
    """Cut out what a finding is about, with a second before and after it.

    Args:
        call: The call that it was found in.
        finding: Any that can be heard: its first part and those that follow it within ten seconds;
            of a longer part, the first ten seconds.
        as_meant: Of bytes that are no such samples (``wrong_codec``, ``wrong_layout``): as what they
            are, at most ten seconds of the first part.

    Raises:
        ValueError: If it cannot be heard: its ``listen`` is empty; or ``as_meant``, if the bytes are
            not known to be anything else.
    """
    if not finding.listen:
        raise ValueError(f"{finding.kind} cannot be heard, see its measurement")
    audio = call.signal(finding.listen)
    begin = max(0.0, finding.parts[0].start)
    if as_meant:
        stretch = audio.span(begin, min(finding.parts[0].end, begin + LONGEST))
        meant = readings.as_meant(stretch, declared(call, finding.listen))
        if meant is None:
            raise ValueError(f"{finding.listen} is not known to be anything else at {finding.when}")
        return meant
    start = min(begin, audio.duration)
    heard = [part.end for part in finding.parts if part.end <= begin + LONGEST]
    end = max([start, *heard]) if heard else start + LONGEST
    return audio.span(max(0.0, start - AROUND), end + AROUND)

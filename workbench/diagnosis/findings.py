"""What is wrong with a call, worst first.

::

    found = diagnose(call)
    print(found)                     # a sentence, then one line for each
    excerpt(call, found[0])          # hear the worst

The order is that of the person on the phone: first what spoils the conversation, then what is
heard, then what is worth knowing. Within a severity the kinds stand in the order of
:data:`HARM`, and among equals the one that exceeds its threshold most comes first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Final
from xml.etree import ElementTree

from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.baseline import Change, changes
from workbench.diagnosis.detectors import DETECTORS, Finding
from workbench.diagnosis.finding import SEVERITIES, Severity

__all__ = ["HARM", "Change", "Finding", "Findings", "diagnose", "excerpt", "to_junit"]

#: Kinds in the order in which a caller minds them; those not named come after.
HARM: Final = (
    "capture_dropped",  # before all that rests on the capture
    "one_way",
    "early_end",
    "cut_goodbye",
    "wrong_codec",
    "wrong_rate",
    "underrun",
    "loop_lag",
    "audio_lost",
    "tail_lost",
    "dead_air",
    "late_start",
    "slow_barge_in",
    "missing_clear",
    "stale_audio",
    "false_barge_in",
    "dropout",
    "slow_response",
    "clipping",
    "aliasing",
    "block_joint",
    "echo",
    "sequence_gap",
)

#: Heard before and after a finding, and at most of it, in seconds.
AROUND, LONGEST = 1.0, 10.0

#: Seconds beside a hole of the recording in which it makes faults out of nothing.
_BESIDE: Final = 0.1

#: Calls longer than this, in seconds, are not diagnosed in an instant: 10 minutes take 2 s.
_LONG: Final = 300.0
#: What all detectors build on and takes longest, in detectors: done first, it moves the bar evenly.
_GROUNDWORK: Final = {"caller_heard": 3, "bot_speech": 40, "caller_speech": 40, "stats": 5}

_COLOURS: Final = {"error": "#b3261e", "warning": "#8a5a00", "info": "#0b5c8a"}
_ROOM_FOR: Final = 1000  # characters of a measurement in an attribute of XML


class Findings(list[Finding]):
    """Findings of one call, worst first: a list that knows how to show itself.

    Attributes:
        changes: Against the baseline that was given to :func:`diagnose`; ``None`` without one.
        is_silent: Whether the call had no audio to find anything in, of either side.
    """

    def __init__(
        self,
        found: Iterable[Finding] = (),
        changes: Sequence[Change] | None = None,
        *,
        is_silent: bool = False,
    ) -> None:
        """Take findings in their order.

        Args:
            found: Worst first.
            changes: Against a baseline.
            is_silent: Whether there was nothing to find them in.
        """
        super().__init__(found)
        self.changes = None if changes is None else tuple(changes)
        self.is_silent = is_silent

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        serious = [finding for finding in self if finding.severity != "info"]
        if not serious and self.is_silent:
            return "Nothing can be said of this call: the capture holds no audio of either side."
        if not serious:
            return "This call is sound: nothing a person on the phone would mind was found."
        more = f", and {len(serious) - 1} more below" if len(serious) > 1 else ""
        return f"The worst of this call: {serious[0].measurement}{more}."

    def advice(self) -> Iterator[tuple[str, str]]:
        """Cause and remedy of each; of what was said before, only where that was."""
        said: dict[str, str] = {}
        above: tuple[str, ...] = ()
        for finding in self:
            told = finding.cause, finding.remedy
            here = (
                "as above" if text in above else f"as at {said[text]}" if text in said else text
                for text in told
            )
            yield next(here), next(here)
            said = {text: finding.when for text in told} | said
            above = told

    def failures(self, fail_on: Severity = "warning") -> Findings:
        """Those that shall fail a release.

        Args:
            fail_on: How bad a finding must at least be.

        Returns:
            All that are so bad; with a baseline only those that are new or got worse.
        """
        bad = [f for f in self if SEVERITIES.index(f.severity) <= SEVERITIES.index(fail_on)]
        if self.changes is not None:
            worse = {(c.kind, c.side) for c in self.changes if c.verdict in ("new", "worse")}
            bad = [finding for finding in bad if (finding.kind, finding.side) in worse]
        return Findings(bad)

    def __str__(self) -> str:
        lines = [self.sentence, *map(str, self)]
        if self.changes is not None:
            lines += ["Against the baseline:", *(map(str, self.changes) if self.changes else ["-"])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for finding, advice in zip(self, self.advice(), strict=True):
            side = f" ({finding.side})" if finding.side else ""
            badge = (
                f"<b style='background:{_COLOURS[finding.severity]};color:#fff;"
                f"padding:1px 6px;border-radius:3px'>{finding.severity}</b>"
            )
            kind = f"<code style='font-size:smaller;opacity:.75'>{escape(finding.kind)}</code>"
            name = f"<b>{escape(finding.title)}</b>{side} {kind}"
            what = f"{name}<br>{escape(finding.measurement)}"
            rows.append(_row("td", badge, finding.when, what, *map(escape, advice)))
        table = ""
        if rows:
            head = _row("th", "how bad", "when", "what and how much", "why", "what to change")
            table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
        against = ""
        if self.changes is not None:
            told_ = "".join(f"<li>{escape(str(change))}</li>" for change in self.changes)
            against = f"<p>Against the baseline:</p><ul>{told_ or '<li>nothing changed</li>'}</ul>"
        return f"<p><b>{escape(self.sentence)}</b></p>{table}{against}"


def diagnose(
    call: Call, kinds: Collection[str] | None = None, *, baseline: Call | None = None
) -> Findings:
    """Run the detectors over a call.

    Of a long one, a terminal or a notebook shows how far it is.

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
        ('underrun', 'bot', 'error', '9.72–13.48 s')
    """
    unknown = set(kinds or ()) - DETECTORS.keys()
    if unknown:
        raise ValueError(f"no detector {sorted(unknown)}, there are: {', '.join(DETECTORS)}")
    wanted = DETECTORS if kinds is None else {name: DETECTORS[name] for name in kinds}
    groundwork = _GROUNDWORK if kinds is None else {}
    found: list[Finding] = []
    with _progress(call, sum(groundwork.values()) + len(wanted)) as advance:
        for name, steps in groundwork.items():
            getattr(call, name)
            advance(steps)
        for name, detector in wanted.items():
            try:
                found += detector(call)
            except Exception as error:
                text = f"the detector {name} failed: {error!r}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            advance(1)
    found = [f for f in found if f.kind == "capture_dropped" or not _unrecorded(f, call)]
    found.sort(key=_rank)
    is_silent = not len(call.inbound) and not len(call.outbound)
    if baseline is None:
        return Findings(found, is_silent=is_silent)
    before = diagnose(baseline, kinds)
    against = changes(before, found, baseline.duration, call.duration)
    return Findings(found, against, is_silent=is_silent)


def _unrecorded(finding: Finding, call: Call) -> bool:
    """Whether a finding lies where the recording has a hole: then nobody can know."""
    start, end = finding.span[0] - _BESIDE, finding.span[1] + _BESIDE
    holes = call.unrecorded
    covered = sum(max(0.0, min(end, last) - max(start, first)) for first, last in holes)
    return covered > 0.3 * (end - start)


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
    if not is_watched:
        yield lambda steps: None
        return
    columns = SpinnerColumn(), *Progress.get_default_columns()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"Diagnosing {markup.escape(call.path.name)}", total=total)
        yield lambda steps: bar.advance(task, steps)


def excerpt(call: Call, finding: Finding) -> Audio:
    """Cut out what a finding is about, with a second before and after it.

    Args:
        call: The call that it was found in.
        finding: Any that can be heard. Of a long one, the first ten seconds.

    Raises:
        ValueError: If it cannot be heard: its ``listen`` is empty.
    """
    if not finding.listen:
        raise ValueError(f"{finding.kind} cannot be heard, see its measurement")
    start, end = finding.span
    audio = call.signal(finding.listen)
    start = min(start, audio.duration)
    return audio.span(max(0.0, start - AROUND), max(start, min(end, start + LONGEST)) + AROUND)


def to_junit(findings: Findings, fail_on: Severity = "warning", name: str = "call") -> str:
    """Write findings as JUnit XML, which CI servers show: one test case for each detector.

    Args:
        findings: Of one call.
        fail_on: From which severity on a finding fails its test case, see
            :meth:`Findings.failures`; a lesser one stands in its ``system-out``.
        name: Of the test suite, such as the file's.

    Returns:
        The document.
    """
    failed = findings.failures(fail_on)
    count = len({finding.kind for finding in failed})
    suite = ElementTree.Element(
        "testsuite", name=_xml(name), tests=str(len(DETECTORS)), failures=str(count), errors="0"
    )
    for kind in DETECTORS:
        case = ElementTree.SubElement(suite, "testcase", classname="workbench.diagnose", name=kind)
        for number, finding in enumerate(f for f in failed if f.kind == kind):
            if not number:  # one is allowed
                failure = ElementTree.SubElement(case, "failure")
                failure.set("type", finding.severity)
                failure.set("message", _xml(str(finding))[:_ROOM_FOR])
                failure.text = ""
            failure.text = f"{failure.text}{_xml(_told(finding))}\n"
        others = [finding for finding in findings if finding.kind == kind and finding not in failed]
        if others:
            out = ElementTree.SubElement(case, "system-out")
            out.text = "\n".join(_xml(_told(finding)) for finding in others)
    return ElementTree.tostring(suite, "unicode", xml_declaration=True)


def _told(finding: Finding) -> str:
    return f"{finding}\n  {finding.cause}\n  {finding.remedy}"


def _xml(text: str) -> str:
    """Leave out what XML cannot hold; escaping is the library's."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _row(cell: str, *texts: str) -> str:
    style = "text-align:left;vertical-align:top"
    return f"<tr>{''.join(f'<{cell} style={style!r}>{text}</{cell}>' for text in texts)}</tr>"


def _rank(finding: Finding) -> tuple[int, int, float, float]:
    harm = HARM.index(finding.kind) if finding.kind in HARM else len(HARM)
    return SEVERITIES.index(finding.severity), harm, -finding.excess, finding.span[0]

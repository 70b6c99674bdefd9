"""What was so when a run was recorded: from its records and its truth, by none of our detectors.

Times are seconds from the first message. A finding that tells of it is true, and no false alarm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipecat_bandwidth.messages import Clear, Media, parse
from tests.ground.caller import SIZE
from workbench.capture import AudioFrame, CaptureReader, OtherFrame
from workbench.diagnosis import Finding

Span: TypeAlias = tuple[float, float]

#: What a process that stood still may be told of.
STALLS = ("jitter", "late_start", "loop_lag", "pacing", "underrun")
#: Two who speak at once for so many seconds do not let each other.
LONG = 0.5
SILENT = 2.5  # seconds that nobody spoke
EDGE = 0.7  # by so much a silence may be longer: phrases are not as long as those they replace
HOLE = 0.04  # seconds without sound in the middle of words
SLOW = 1.9  # seconds of half of the answers
PASSED = 0.1  # seconds behind an interruption in which one frame may still go out; and round a hole


class Course(NamedTuple):
    """Who spoke when, and what was wrong then.

    Parameters:
        bot: Where the bot was heard.
        caller: Where the caller was.
        holes: Where the far end had nothing to play in the middle of the bot's words.
        passed: When one frame was given to the serializer right behind an interruption, and none
            after it. Pipecat's transport does so now and then: it was just about to send it.
        late: Where event loop or caller were late, 0.3 s wider.
        end: When the last message came.
        cut: Whether the bot was cut off at the end, in the middle of its words.
    """

    bot: list[Span]
    caller: list[Span]
    holes: list[Span]
    passed: list[float]
    late: list[Span]
    end: float
    cut: bool

    def silences(self, caller: bool = True) -> list[Span]:
        """Where neither spoke for long, whatever was heard behind the caller.

        Args:
            caller: Whether the caller speaks; whose words are noises is nobody.
        """
        found, last = [], 0.0
        said = self.caller if caller else []
        for start, end in sorted([*self.bot, *said, (self.end, self.end)]):
            if start - last >= SILENT:
                found.append((last, start))
            last = max(last, end)
        return found

    def together(self) -> list[Span]:
        """Where both spoke for long.

        A caller who waits for a silence that a background never leaves begins when his patience ends.
        """
        shared = [(max(a, c), min(b, d)) for a, b in self.bot for c, d in self.caller]
        return [(start, end) for start, end in shared if end - start >= LONG]


class Truth(NamedTuple):
    """Findings that are true of a run.

    Parameters:
        rightly: Kinds that are true wherever they are told.
        within: By kind, where each part of such a finding lies.
        touching: By kind, what each part of such a finding touches.
    """

    rightly: tuple[str, ...] = ()
    within: Mapping[str, Sequence[Span]] = {}
    touching: Mapping[str, Sequence[Span]] = {}

    def tells(self, finding: Finding, begun: float = 0.0) -> bool:
        """Whether a finding of a call whose first message came at ``begun`` is true.

        When the caller's messages came is as it was recorded.
        """
        if finding.kind == "late_start" and finding.side == "caller":
            return True
        within, touching = (
            [(start + begun, end + begun) for start, end in among.get(finding.kind, ())]
            for among in (self.within, self.touching)
        )
        return finding.kind in self.rightly or any(
            all(any(fits(part, span) for span in spans) for part in finding.parts)
            for spans, fits in ((within, _lies_in), (touching, _touches))
        )

    def but(self, *kinds: str) -> Truth:
        """The same with more kinds that are true wherever they are told."""
        return self._replace(rightly=(*self.rightly, *kinds))


def _lies_in(part: Any, span: Span) -> bool:
    return bool(part.start >= span[0] and part.end <= span[1])


def _touches(part: Any, span: Span) -> bool:
    return bool(part.start < span[1] and part.end > span[0])


def truth_of(path: Path, rightly: Sequence[str] = (), *, caller: bool = True) -> Truth:
    """What may be told of a run, by what happened in it.

    Args:
        path: Of its capture; its truth lies beside it.
        rightly: Kinds that are true of its scenario.
        caller: Whether the caller speaks; ``False`` where noises are in the place of words.
    """
    course = course_of(path)
    answers = _answers(course)
    slow = ("slow_response",) if len(answers) and np.median(answers) >= SLOW else ()
    together = course.together()
    silent = [(start - EDGE, end + EDGE) for start, end in course.silences(caller)]
    return Truth(
        (*rightly, *slow),
        {
            "dead_air": silent,
            "late_start": _nothing_before(course, caller),
            "underrun": [(start - PASSED, end + PASSED) for start, end in course.holes],
        },
        {
            **dict.fromkeys(STALLS, course.late),
            "cut_goodbye": [(course.end - 0.5, course.end + 0.5)] if course.cut else [],
            "early_answer": together,
            "slow_barge_in": together,
            "stale_audio": [(time - PASSED, time + PASSED) for time in course.passed],
        },
    )


def _answers(course: Course) -> NDArray[np.float64]:
    """How long the caller waited, each time that the bot spoke next, whoever spoke into whose words before."""
    waits = []
    for begins, _ in course.bot:
        caller = max(
            (end for start, end in course.caller if start < end <= begins), default=-np.inf
        )
        bot = max((end for _, end in course.bot if end <= begins), default=-np.inf)
        if caller > bot:
            waits.append(begins - caller)
    return np.array(waits)


def _nothing_before(course: Course, caller: bool) -> list[Span]:
    """Until the bot's first word, if nobody spoke before it for long."""
    first = min((start for start, _ in course.bot), default=course.end)
    spoke = caller and any(start < first for start, _ in course.caller)
    return [] if spoke or first < SILENT else [(-EDGE, first + EDGE)]


# -- from the records ----------------------------------------------------------------------------


def played(
    times: Sequence[float], secs: Sequence[float], clears: Sequence[float]
) -> NDArray[np.float64]:
    """When each frame begins to be heard: they queue, and ``clear`` empties the queue."""
    waiting = list(clears)
    starts, end = [], 0.0
    for time, lasts in zip(times, secs, strict=True):
        while waiting and waiting[0] <= time:
            end = min(end, waiting.pop(0))
        starts.append(max(time, end))
        end = starts[-1] + lasts
    return np.array(starts)


@cache
def course_of(path: Path) -> Course:
    """What happened in a run."""
    truth = json.loads(path.with_suffix(".json").read_text("utf-8"))
    came, given, clears, cuts = _times(path)
    rate = given[0][2] if given else 1
    sizes = np.array([size for _, size, _ in given], int)
    start = played([time for time, *_ in given], sizes / rate, clears)
    end = start + sizes / rate
    for clear in clears:
        gone = np.array([time for time, *_ in given]) < clear
        end[gone] = np.minimum(end[gone], np.maximum(start[gone], clear))
    bounds = np.r_[0, np.cumsum(sizes)]
    bot, holes = [], []
    for first, last, _ in truth["slots"]:
        a = int(np.searchsorted(bounds, first, "right")) - 1
        b = int(np.searchsorted(bounds, last, "left")) - 1
        bot.append((float(start[a]) + (first - int(bounds[a])) / rate, float(end[b])))
        gaps = start[a + 1 : b + 1] - end[a:b]
        holes += [(float(end[a + i]), float(start[a + i + 1])) for i in np.flatnonzero(gaps > HOLE)]
    at = [min(len(came) - 1, x // SIZE) for span in truth["said"] for x in span[:2]]
    caller = [(came[a], came[b]) for a, b in zip(at[::2], at[1::2], strict=True)]
    moments = truth["lag"] + truth["late"]
    late = [(time - ms / 1000 - 0.3, time + 0.3) for time, ms in moments]
    # Who is interrupted by the caller is cut off too, but something follows.
    cut = bool(truth["slots"]) and bool(truth["slots"][-1][2]) and bot[-1][1] > came[-1] - 0.1
    return Course(bot, caller, holes, _passed(given, cuts), late, came[-1], cut)


def _times(
    path: Path,
) -> tuple[list[float], list[tuple[float, int, int]], list[float], list[float]]:
    """When the caller's audio came; time, samples and rate of the bot's; clears; interruptions."""
    came, given, clears, cuts = [], [], [], []
    zero = None
    with CaptureReader(path) as reader:
        for record in reader.records():
            if zero is None and record.topic == "/ws/rx":
                zero = record.time_ns
            time = (record.time_ns - (zero or record.time_ns)) / 1e9
            match record.topic:
                case "/ws/rx" if isinstance(parse(record.body, max_size=2**20), Media):
                    came.append(time)
                case "/ws/tx" if isinstance(parse(record.body, max_size=2**20), Clear):
                    clears.append(time)
                case "/frames/out/audio":
                    frame = msgspec.json.decode(record.body, type=AudioFrame)
                    given.append((time, len(frame.data) // 2, frame.sample_rate))
                case "/frames/out/other":
                    other = msgspec.json.decode(record.body, type=OtherFrame)
                    if other.frame == "InterruptionFrame":
                        cuts.append(time)
    return came, given, clears, cuts


def _passed(given: list[tuple[float, int, int]], cuts: list[float]) -> list[float]:
    times = np.array([time for time, *_ in given], float)
    found = []
    for cut in cuts:
        behind = times[(times > cut) & (times < cut + 0.3)]
        if len(behind) == 1 and behind[0] < cut + PASSED:
            found.append(float(behind[0]))
    return found

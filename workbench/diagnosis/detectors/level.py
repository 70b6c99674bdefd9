"""Faults of level: one side against the other, one sentence against the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from workbench.audio import Audio
from workbench.call import Call
from workbench.diagnosis.detector import Accuracy, Symptom, Threshold, detector
from workbench.diagnosis.finding import POSSIBLE, Finding, Part, graded
from workbench.metrics.pitch import median_pitch
from workbench.metrics.sounds import SURELY_VOICE, intervals_of
from workbench.metrics.speech import HOP, joined, levels

__all__ = ["level_mismatch"]

SIDES_DB: Final = Threshold(10.0, "dB", "Between the sides: half as loud, and half as loud again.")
SENTENCES_DB: Final = Threshold(
    12.0,
    "dB",
    "Between two groups of the bot's sentences: of 40,000 draws of 2 to 10 sentences of one of 64 speakers none "
    "had it, one in a thousand had 10 dB.",
)
#: Between the groups no sentence lies for so many decibels, half of what is between their middles at least: what
#: only spreads has sentences of all levels.
_GAP_DB: Final = SENTENCES_DB.value / 2
#: One sentence against fewer than four others is only possible: so few say little of what is usual.
_FEW: Final = 5
#: One sentence that is out of place by less than so many decibels more may be a voice that sinks (an actor's
#: had 13 dB): that is for information.
_ALONE_DB: Final = 3.0
#: A sentence lasts at least this long, in seconds, and has no longer pause than this.
SENTENCE, PAUSE = 1.0, 0.3
#: So many sentences are listened to, whether they are whispered.
_LISTENED: Final = 60
#: Of its loudest two fifths so much of a sentence has a pitch, or it is whispered.
_VOICED: Final = 0.1


@detector(
    title="Levels far apart",
    symptoms=(Symptom(13, "caller too faint, bot too loud", "`level_mismatch`"),),
    measured="between the sides, difference of the active speech levels (ITU-T P.56), with two "
    "seconds of speech on each side; between the bot's sentences of a second and more, difference "
    "between the middle of the louder ones and that of the fainter ones, parted where no sentence lies "
    "for the most decibels, 6 dB at least.",
    thresholds=(SIDES_DB, SENTENCES_DB),
    change="bring the speech synthesis to -20 to -26 dBov, every sentence of it; lower "
    "VADParams.min_volume for a faint caller.",
    limits="a caller's sentences are not held against each other: people move, and hand the telephone "
    "on. Nor is a gain that changes inside of a sentence looked for, nor what is whispered. One sentence of the "
    "bot against fewer than four others, or by less than 15 dB, is only possible.",
    accuracy=(Accuracy("apart", 1.0, value_error=0.3, decibels=True),),
)
def level_mismatch(call: Call) -> Iterator[Finding]:
    """One side much louder than the other, or one sentence of the bot than the next."""
    yield from _between_sides(call)
    yield from _between_sentences(call)


def _between_sides(call: Call) -> Iterator[Finding]:
    caller, bot = (call.stats.get(f"{side}_level_dbov") for side in ("caller", "bot"))
    sure = intervals_of(call.caller_sounds, "voice", least=SURELY_VOICE)  # no television
    spoken = [float((s[:, 1] - s[:, 0]).sum()) for s in (sure, call.bot_speech)]
    if caller is None or bot is None or min(spoken) < 2.0:
        return
    apart = abs(caller - bot)
    if apart < SIDES_DB.value:
        return
    louder, quieter = ("caller", "bot") if caller > bot else ("bot", "caller")
    yield level_mismatch.finding(
        side="bot" if quieter == "bot" else "caller",
        parts=(Part(0.0, call.duration, apart),),
        severity=graded(apart, 15, 25),
        value=apart,
        measurement=f"the {quieter} is {apart:.0f} dB quieter than the {louder} "
        f"({min(caller, bot):.0f} against {max(caller, bot):.0f} dBov)",
        cause="The caller's line is faint."
        if quieter == "caller"
        else "The bot's voice is set low.",
        remedy="Raise the gain ahead of speech recognition, or lower VADParams.min_volume: 0.6 "
        "may be more than this caller reaches."
        if quieter == "caller"
        else "Raise the gain of the speech synthesis until speech is at -20 to -26 dBov.",
        listen="caller_sent" if quieter == "caller" else "caller_heard",
    )


class _Sentence(NamedTuple):
    """Something said in one go: from when to when, and the level of its louder half in dBov."""

    start: float
    end: float
    level: float


def _between_sentences(call: Call) -> Iterator[Finding]:
    fainter, louder = _parted(_sentences(call))
    if not fainter:
        return
    low, high = (float(np.median([s.level for s in some])) for some in (fainter, louder))
    apart = high - low
    if apart < SENTENCES_DB.value or not _is_voiced(call.caller_heard, fainter):
        return
    # What is rare is out of place; of as many, what can hardly be heard.
    is_loud = 2 * _secs(louder) < _secs(fainter)
    wrong = louder if is_loud else fainter
    usual, far = (low, "louder") if is_loud else (high, "fainter")
    count = len(fainter) + len(louder)
    rare = min(len(fainter), len(louder)) == 1
    sinks = rare and apart < SENTENCES_DB.value + _ALONE_DB
    yield level_mismatch.finding(
        side="bot",
        parts=[Part(s.start, s.end, abs(s.level - usual)) for s in wrong],
        severity="info" if sinks else graded(apart, SENTENCES_DB.value, 20),
        value=apart,
        measurement=f"{len(wrong)} of the bot's {count} sentences {'is' if len(wrong) == 1 else 'are'} "
        f"{apart:.0f} dB {far} than the {'other' if count - len(wrong) == 1 else 'others'} ({low:.0f} against {high:.0f} dBov)",
        cause="What the bot says comes from sources of different gain: a second voice or service, "
        "recorded prompts beside a synthesis, or a gain that was changed during the call.",
        remedy="Bring all of them to one level, -20 to -26 dBov, where they are made; a filter that "
        "levels sentences in the pipeline (between the synthesis and transport.output()) does it "
        "for all of them. Look for what sets a gain while the bot speaks.",
        threshold=SENTENCES_DB,
        listen="caller_heard",
        confidence=POSSIBLE if sinks or (rare and count < _FEW) else 1.0,
    )


def _sentences(call: Call) -> list[_Sentence]:
    """What the bot says in one go, a second and longer."""
    level = levels(call.bot_line)
    found = []
    for start, end in joined(call.bot_speech, PAUSE).tolist():
        part = level[round(start / HOP) : round(end / HOP)]
        if end - start < SENTENCE or not len(part):
            continue
        loud = 10 ** (np.sort(part)[len(part) // 2 :] / 10)
        found.append(_Sentence(start, end, 10 * float(np.log10(loud.mean()))))
    return found


def _parted(sentences: Sequence[_Sentence]) -> tuple[list[_Sentence], list[_Sentence]]:
    """The fainter ones and the louder ones, in order of time; none without a gap between them."""
    ordered = sorted(sentences, key=lambda sentence: sentence.level)
    gaps = np.diff([sentence.level for sentence in ordered])
    if gaps.max(initial=0.0) < _GAP_DB:
        return [], []
    at = 1 + int(np.argmax(gaps))
    return sorted(ordered[:at]), sorted(ordered[at:])


def _secs(sentences: Sequence[_Sentence]) -> float:
    return sum(sentence.end - sentence.start for sentence in sentences)


def _is_voiced(audio: Audio, sentences: Sequence[_Sentence]) -> bool:
    """Whether they are said with a voice; of many the first sixty are listened to."""
    pieces = [audio.span(s.start, s.end).samples for s in sentences[:_LISTENED]]
    _, voiced = median_pitch(Audio(np.concatenate(pieces), audio.sample_rate))
    return voiced > _VOICED * _secs(sentences[:_LISTENED])

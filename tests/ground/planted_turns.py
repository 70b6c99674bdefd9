"""Faults of a ground call's turns and of its end: who waits, who is cut off, what is lost by it."""

from __future__ import annotations

import msgspec
import numpy as np

from pipecat_bandwidth.encodings import from_content_type
from pipecat_bandwidth.messages import PlayAudio, encode, parse
from tests.ground.planted_sound import Planted, put
from tests.ground.planted_time import lead
from tests.ground.take import OTHER, TX, Take, Unfit
from workbench.capture import OtherFrame

END = msgspec.json.encode(OtherFrame(frame="EndFrame", result="none"))
#: By so many ms a queue may be longer than is wanted: a frame of the transport, and a bit.
MOST_MORE = 50.0

# -- turns ---------------------------------------------------------------------------------------


def answers(take: Take) -> list[tuple[int, int]]:
    """Numbers of the words of the caller and of the bot's sentence that answers them."""
    begins = np.array([take.heard(first) for first, _ in take.slots])
    found = []
    for number, (_, last) in enumerate(take.words):
        later = np.flatnonzero(begins > take.sent(last))
        if len(later) and begins[later[0]] - take.sent(last) < 5:
            found.append((number, int(later[0])))
    if not found:
        raise Unfit
    return found


def delayed(take: Take, answer: tuple[int, int], secs: float) -> tuple[float, float]:
    """Let an answer come so long after the caller, or when it did if that is later."""
    words, sentence = answer
    end, begin = take.sent(take.words[words][1]), take.heard(take.slots[sentence][0])
    if secs > begin - end:
        take.stretch(begin - 0.3, secs - (begin - end))
    return end, take.heard(take.slots[sentence][0])


def dead(take: Take, secs: float) -> Planted:
    """One answer comes only after so many seconds."""
    known = answers(take)
    end, begin = delayed(take, known[take.rng.integers(len(known))], secs)
    return Planted(((end, begin),), begin - end)


def waiting(take: Take, ms: float) -> Planted:
    """Each answer comes only after so long."""
    parts = [delayed(take, answer, ms / 1000) for answer in answers(take)]
    return Planted(tuple(parts), float(np.median(np.diff(parts))) * 1000)


def late(take: Take, secs: float) -> Planted:
    """The bot's first word comes so late, and nobody has spoken before it."""
    first = take.heard(take.slots[0][0])
    if any(start < first for start, _ in take.run.course.caller):
        raise Unfit
    if secs > first:
        take.stretch(take.frames[0].time - 0.05, secs - first)
    first = take.heard(take.slots[0][0])
    return Planted(((0.0, first),), first)


def yielding(take: Take, ms: float) -> Planted:
    """The caller cuts in, and the bot goes on for so long."""
    slot = take.slot(3.5 + ms / 1000)
    onset = take.heard(slot[0]) + float(take.rng.uniform(1.5, 2.5))
    put(take, onset, take.caller(max(1.5, ms / 1000 + 0.5), False))
    take.interrupt(slot, onset + ms / 1000)
    return Planted(((onset, onset + ms / 1000),), ms)


def queueing(take: Take, ms: float) -> tuple[tuple[int, int], float, float]:
    """A sentence that is so far ahead when the caller cuts in: it, then, and how far in seconds."""
    slot = take.slot(ms / 1000 + 5)
    frames = take.within(slot)
    at = take.heard(slot[0]) + 2.0
    lead(take, slot, max(0.0, ms - 1000 * take.queued(at)))
    at = max(frame.time for frame in frames if frame.time < at + 1e-3) + 2e-3
    left = take.queued(at)
    if 1000 * left > ms + MOST_MORE:  # of itself it is further ahead than is wanted
        raise Unfit
    put(take, at - 0.4, take.caller(1.5, False))
    return slot, at, left


def uncleared(take: Take, ms: float) -> Planted:
    """The bot is cut off with so much queued, and the queue is not emptied."""
    slot, at, left = queueing(take, ms)
    cut = take.interrupt(slot, at)
    take.encode()
    take.remove(take.made_of(cut))
    cut.body = msgspec.json.encode(OtherFrame(frame="InterruptionFrame", result="none"))
    return Planted(((at, at + left),), 1000 * left)


def unheard(take: Take, ms: float) -> Planted:
    """The bot is cut off with so much queued, which is then lost."""
    slot, at, left = queueing(take, ms)
    take.interrupt(slot, at)
    return Planted(((at, at),), 1000 * left)


def unprompted(take: Take, present: float) -> Planted:
    """The bot falls silent though nobody spoke."""
    if present < 1:
        return Planted()
    slot = take.slot(3.5)
    at = take.heard(slot[0]) + float(take.rng.uniform(1.7, 2.5))
    take.interrupt(slot, at)
    return Planted(((at, at),))


def hasty(take: Take, ms: float) -> Planted:
    """The bot begins in a pause of the caller, who goes on for so long, 0.3 s later."""
    slot = take.slot(ms / 1000 + 1.5)
    begins = take.heard(slot[0])
    if begins < 3:
        raise Unfit
    put(take, begins - float(take.rng.uniform(0.4, 1.0)) - 1.5, take.caller(1.5, False))
    first, last = put(take, begins + 0.3, take.caller(ms / 1000, False))
    return Planted(((take.sent(first), take.sent(last)),), ms)


def stale(take: Take, ms: float) -> Planted:
    """The first message after an interruption begins with the end of what was interrupted."""
    slots = [slot for slot in take.slots[:-1] if slot[1] - slot[0] > 3 * take.rate]
    if not slots:
        raise Unfit
    slot = slots[take.rng.integers(len(slots))]
    start, end = slot[0] + round(1.5 * take.rate), slot[1] - round(0.5 * take.rate)
    at = take.heard(take.loud(take.said, take.rate, (start, end), take.rate // 20)) + 0.03
    put(take, at - 0.5, take.caller(1.5, False))
    cut = take.interrupt(slot, at)
    take.encode()
    sent = [e for e in take.of(TX) if isinstance(parse(e.body, max_size=2**20), PlayAudio)]
    old = [parse(e.body, max_size=2**20).payload for e in sent if e.time < cut.time]
    first = next(entry for entry in sent if entry.time > cut.time + 0.3)
    message = parse(first.body, max_size=2**20)
    wire = from_content_type(message.content_type)
    size = round(ms / 1000 * wire.sample_rate) * wire.bytes_per_sample
    payload = b"".join(old)[-size:] + message.payload
    first.body = encode(PlayAudio(message.content_type, payload))
    return Planted(((first.time, first.time + ms / 1000),), ms)


def long_stale(take: Take, present: float) -> Planted:
    """Between 100 and 400 ms of it."""
    return stale(take, float(take.rng.uniform(100, 400))) if present >= 1 else Planted()


# -- the end -------------------------------------------------------------------------------------


def cut_off(take: Take, ms: float, *, audible: bool = True) -> Planted:
    """The call ends with so much of the goodbye still to be heard; or with silence, no fault."""
    slot = take.slot(ms / 1000 + 2)
    lead(take, slot, ms + 200)
    if not audible:
        take.said[slot[1] - round((ms / 1000 + 0.4) * take.rate) : slot[1]] = 0
    end = take.heard(slot[1] - 1) - ms / 1000
    take.encode()
    take.add(end - 0.1, OTHER, END)
    take.end(end)
    return Planted(((end, end + ms / 1000),), ms)


def broken_off(take: Take, present: float) -> Planted:
    """The socket is gone in the middle of a word."""
    if present < 1:
        return Planted()
    slot = take.slot(2.5)
    span = slot[0] + take.rate, slot[1] - take.rate // 2
    at = take.heard(take.loud(take.said, take.rate, span, take.rate // 10)) + 0.05
    take.encode()
    take.end(at, stop=False)
    return Planted(((at, at),))


def lingering(take: Take, secs: float) -> Planted:
    """The bot ends the call, and nobody hangs up for so long."""
    slot = take.slots[max(0, len(take.slots) - 2)]
    at = take.heard(slot[1] - 1) + 0.2
    take.end(at + 0.1, stop=False)
    take.stretch(at + 0.05, secs)
    take.encode()
    take.add(at, OTHER, END)
    take.end(at + secs)
    return Planted(((at, at + secs),), secs)

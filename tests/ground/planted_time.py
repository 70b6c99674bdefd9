"""Faults of a ground call's messages: they come late, twice, never, or with other bytes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from pipecat_bandwidth.encodings import from_content_type
from pipecat_bandwidth.messages import PlayAudio, Stop, encode, parse
from tests.ground.caller import RATE, SIZE, STEP, ulaw_encode
from tests.ground.planted_sound import Planted, alaw_encode, by_itself, sibilant
from tests.ground.take import HEARD, OTHER, OUTBOUND, RX, TX, Entry, Take, Unfit
from workbench.audio import Audio
from workbench.capture import AudioFrame

# -- what the caller sends -----------------------------------------------------------------------


def from_media(take: Take) -> tuple[list[Entry], int]:
    """The caller's messages, and a random one of them, not near either end."""
    media = take.media
    return media, int(take.rng.integers(150, len(media) - 200))


def lost(take: Take, ms: float) -> Planted:
    """Messages are gone, and their numbers with them."""
    take.encode()
    media, first = from_media(take)
    count = max(1, round(ms / 20))
    take.remove(media[first : first + count])
    return Planted(((media[first].time, media[first + count].time),), count * 20.0)


def doubled(take: Take, count: float) -> Planted:
    """Messages arrive again right behind themselves."""
    take.encode()
    media, first = from_media(take)
    again = media[first : first + round(count)]
    for entry in again:
        heard = next(e for e in take.entries if e.cause is entry)
        new = take.add(entry.time + 2e-4, RX, entry.body)
        take.add(entry.time + 3e-4, HEARD, heard.body, new)
    return Planted(((again[0].time, again[-1].time + STEP),), round(count))


def replayed(take: Take, present: float) -> Planted:
    """After a reconnect the last two seconds arrive again, all at once."""
    take.encode()
    media, first = from_media(take)
    count = 100 if present >= 1 else 0
    at = media[first].time
    for number, entry in enumerate(media[first - count : first]):
        heard = next(e for e in take.entries if e.cause is entry)
        new = take.add(at - 1e-3 + number * 1e-6, RX, entry.body)
        take.add(at - 1e-3 + number * 1e-6, HEARD, heard.body, new)
    return Planted(((at - count * STEP, at),), count)


def hold(entries: Iterable[Entry], at: float, until: float) -> None:
    """What lies in a span comes at its end, in the same order and before what follows."""
    held = [entry for entry in entries if at <= entry.time < until]
    for number, entry in enumerate(reversed(held), 1):
        entry.time = until - number * 1e-6


def stalled(take: Take, ms: float) -> Planted:
    """What the caller sends is held, then comes in a burst."""
    media, first = from_media(take)
    at = media[first].time - 1e-3
    until = at + ms / 1000
    hold((e for e in take.entries if e.topic in (RX, HEARD)), at, until)
    take.sort()
    return Planted(((at, until),), ms)


def blocked(take: Take, ms: float) -> Planted:
    """Nothing is read and nothing is sent, while the bot speaks."""
    slot = take.slot(2 + ms / 1000)
    at = take.heard(slot[0]) + float(take.rng.uniform(0.6, 1.4))
    at = next(entry.time for entry in take.media if entry.time >= at) - 1e-3
    hold(list(take.entries), at, at + ms / 1000)
    take.sort()
    return Planted(((at, at + ms / 1000),), ms)


def paused(take: Take, secs: float) -> Planted:
    """The caller's messages are missing for a while, their numbers are not."""
    if take.duration < secs + 6:
        take.stretch(take.duration / 2, secs)
    at = float(take.rng.uniform(2, take.duration - secs - 2))
    take.encode()
    take.remove(entry for entry in take.media if at <= entry.time < at + secs)
    take.number()
    return Planted(((at, at + secs),), secs)


def ended(take: Take, secs: float) -> Planted:
    """The caller's messages end while the bot still speaks and the call goes on."""
    take.slot(secs + 1)
    end = take.duration
    take.encode()
    take.remove(entry for entry in take.media if entry.time >= end - secs)
    take.end(end)
    return Planted(((end - secs, end),), secs)


def drifting(take: Take, ms: float) -> Planted:
    """The caller's clock is slow by so much a minute; the call lasts longer than one."""
    longest = max(last - first for first, last in take.slots) / take.rate
    take.slot(max(longest, longest + 80 - take.duration))
    for entry in take.entries:
        if entry.topic in (RX, HEARD):
            entry.time *= 1 + ms / 60_000
    take.sort()
    return Planted((), ms)


def piled_up(take: Take, secs: float) -> Planted:
    """The pipeline starts late, and what the caller had sent until then comes at once."""
    if take.offset < -0.1:  # it did so when the run was recorded
        raise Unfit
    take.stretch(take.frames[0].time - 0.05, secs)
    for number, entry in enumerate(take.entries):
        entry.time = max(entry.time - secs, number * 1e-6 if entry.time > 0 else entry.time)
    take.sort()
    return Planted((), secs)


def restarted(take: Take, present: float) -> Planted:
    """The stream stops and starts again, numbered from 1; nobody reads what comes then."""
    if present < 1:
        return Planted()
    take.encode()
    media, first = from_media(take)
    at, begun = media[first].time, take.of(RX)[0].body
    rest = media[first + 10 :]
    take.remove([*media[first : first + 10], *(e for e in take.of(HEARD) if e.time > at)])
    for number, entry in enumerate(rest, 1):
        renamed = msgspec.structs.replace(parse(entry.body), sequence_number=str(number))
        entry.body = encode(renamed)
    call = take.metadata["call"]
    take.add(at, RX, encode(Stop(call["stream_id"], call.get("call_id", ""))))
    take.add(rest[0].time - 1e-3, RX, begun)
    return Planted(((at, rest[0].time),))


# -- when the bot sends --------------------------------------------------------------------------


def joint(take: Take, slot: tuple[int, int]) -> Entry:
    """A frame of a sentence that begins in the middle of a word."""
    frames = take.within(slot)[8:-8]
    if not frames:
        raise Unfit
    hop, power = take.rate // 50, []
    for frame in frames:
        at = int(take.ends[take.frames.index(frame)]) - frame.size
        power.append(
            min(np.mean(take.said[at - hop : at] ** 2), np.mean(take.said[at:][:hop] ** 2))
        )
    loud = np.flatnonzero(np.array(power) >= max(power) / 16)
    return frames[take.rng.choice(loud)]


def hole(take: Take, ms: float) -> Planted:
    """The far end's queue runs dry in a word; the rest of the sentence comes later."""
    frame = joint(take, take.slot(2.5))
    index = take.frames.index(frame)
    dry = float(take.played()[index - 1]) + take.frames[index - 1].size / take.rate
    rest = [e for e in take.entries if e.topic in OUTBOUND and e.time >= frame.time]
    times = np.array([entry.time for entry in rest])
    pauses = np.flatnonzero(np.diff(times) > ms / 1000 + 0.3)
    for entry in rest[: pauses[0] + 1] if len(pauses) else rest:
        entry.time = max(entry.time, dry) + ms / 1000
    take.sort()
    return Planted(((dry, dry + ms / 1000),), ms)


def paced(take: Take, ratio: float, secs: float = 12.0) -> Planted:
    """A sentence is sent so many times faster than it is played."""
    slot = take.slot(secs)
    start = take.within(slot)[0].time
    take.hand_over(slot, lambda time: start + (time - start) / ratio)
    return Planted((), ratio)


def hurried(take: Take, present: float) -> Planted:
    """Each answer is sent in half its time."""
    if present < 1:
        return Planted()
    for slot in take.slots:
        paced_slot(take, slot, 2.0)
    return Planted()  # it is told as a ratio or as a lead


def paced_slot(take: Take, slot: tuple[int, int], ratio: float) -> None:
    start = take.within(slot)[0].time
    take.hand_over(slot, lambda time: start + (time - start) / ratio)


def ahead(take: Take, ms: float) -> Planted:
    """A sentence is sent so far ahead of its sound."""
    lead(take, take.slot(ms / 1000 + 3), ms)
    return Planted((), ms)


def lead(take: Take, slot: tuple[int, int], ms: float) -> None:
    start = take.within(slot)[0].time
    take.hand_over(slot, lambda time: max(start + (time - start) * 1e-4, time - ms / 1000))


# -- what of it is sent --------------------------------------------------------------------------


def tailless(take: Take, ms: float) -> Planted:
    """The end of a sentence is not sent; of one that is interrupted that would be no loss."""
    cuts = np.array([e.time for e in take.of(OTHER) if b"InterruptionFrame" in e.body[:200]])
    times = np.array([frame.time for frame in take.frames])
    pauses = np.r_[np.flatnonzero(np.diff(times) >= 0.3), len(times) - 1]
    lasts = {slot: int(pauses[pauses >= take.frame_at(slot[1] - 1)][0]) for slot in take.slots}
    whole = [
        slot
        for slot, last in lasts.items()
        if not ((cuts > times[last] - 0.1) & (cuts < times[last] + 0.5)).any()
    ]
    if not whole:
        raise Unfit
    slot = whole[take.rng.integers(len(whole))]
    part = take.heard(slot[1] - 1) - ms / 1000, take.heard(slot[1] - 1)
    take.encode()
    left = ms / 1000
    for frame in reversed(take.frames[: lasts[slot] + 1]):
        for entry in take.made_of(frame):
            message = parse(entry.body, max_size=2**20)
            wire = from_content_type(message.content_type)
            width = wire.bytes_per_sample
            cut = min(round(left * wire.sample_rate) * width, len(message.payload))
            left -= cut / width / wire.sample_rate
            entry.body = encode(PlayAudio(message.content_type, message.payload[: -cut or None]))
    return Planted((part,), ms)


def unsent(take: Take, secs: float) -> Planted:
    """Frames of the bot are handed over, and nothing of them is sent."""
    slot = take.slot(secs + 2)
    start = take.heard(slot[0]) + 0.6
    take.encode()
    gone = [f for f in take.within(slot) if start <= f.time < start + secs]
    take.remove(entry for frame in gone for entry in take.made_of(frame))
    return Planted(((start, start + secs),), 1000 * secs)


def on_the_wire(take: Take, change: Callable[[bytes, AudioFrame, PlayAudio], bytes]) -> Planted:
    """Change the bytes of each message of the bot, given its frame."""
    take.encode()
    for entry in take.of(TX):
        message = parse(entry.body, max_size=2**20)
        if isinstance(message, PlayAudio) and entry.cause and entry.cause.topic != OTHER:
            payload = change(message.payload, entry.cause.body, message)
            entry.body = encode(PlayAudio(message.content_type, payload))
    return Planted()


def _frame(frame: AudioFrame) -> Audio:
    return Audio.from_pcm(frame.data, frame.sample_rate)


def _heard(message: PlayAudio) -> Audio:
    wire = from_content_type(message.content_type)
    return Audio.from_pcm(wire.decode(message.payload), wire.sample_rate)


def _sent(samples: np.ndarray, message: PlayAudio) -> bytes:
    wire = from_content_type(message.content_type)
    return wire.encode(Audio(samples.astype(np.float32), wire.sample_rate).pcm())


def alaw_on_wire(take: Take, present: float) -> Planted:
    if present < 1:
        return Planted()
    return on_the_wire(take, lambda _, __, message: alaw_encode(_heard(message).samples))


def swapped_on_wire(take: Take, present: float) -> Planted:
    """16-bit samples, big-endian."""
    if present < 1:
        return Planted()
    take.rewire(RATE)
    return on_the_wire(take, lambda data, _, __: np.frombuffer(data, "<i2").byteswap().tobytes())


def ulaw_as_pcm_on_wire(take: Take, present: float) -> Planted:
    """Mu-law, declared as 16-bit samples."""
    if present < 1:
        return Planted()
    take.rewire(RATE)
    return on_the_wire(take, lambda _, __, message: ulaw_encode(_heard(message).samples))


def twice(take: Take, present: float) -> Planted:
    """Each sample is sent twice."""
    if present < 1:
        return Planted()
    return on_the_wire(take, lambda data, _, __: np.repeat(np.frombuffer(data, "u1"), 2).tobytes())


def folded(take: Take, rejection_db: float) -> Planted:
    """Every third sample, with so much of what lies above folded back."""
    sibilant(take)
    share, place = 10 ** (-rejection_db / 20), 0
    whole = by_itself(take.said, 24000, RATE)
    whole += share * (take.said[::3] - whole)

    def change(payload: bytes, _: AudioFrame, message: PlayAudio) -> bytes:
        nonlocal place
        place += len(payload)
        return _sent(whole[place - len(payload) : place], message)

    return on_the_wire(take, change)._replace(value=rejection_db)


def jointed(take: Take, present: float) -> Planted:
    """Each frame of the bot is converted by itself."""
    if present < 1:
        return Planted()
    wire = take.run.scenario.serializer.get("outbound_pcm_sample_rate", RATE)
    if take.rate == RATE or wire != RATE:
        raise Unfit
    return on_the_wire(
        take, lambda _, frame, m: _sent(by_itself(_frame(frame).samples, take.rate, RATE), m)
    )


def jointed_caller(take: Take, present: float) -> Planted:
    """Each message of the caller is converted by itself."""
    rate = take.run.scenario.in_rate
    if present < 1:
        return Planted()
    if rate == RATE:
        raise Unfit
    take.encode()
    for number, entry in enumerate(take.media):
        heard = next(e for e in take.entries if e.cause is entry)
        alone = by_itself(take.line[number * SIZE :][:SIZE], RATE, rate)
        heard.body = msgspec.structs.replace(heard.body, data=Audio(alone, rate).pcm())
    return Planted()


def unrecorded(take: Take) -> Planted:
    """A second is not recorded, as when the disk is full; the call itself is in order."""
    take.encode()
    at = float(take.rng.uniform(3, take.duration - 4))
    take.lost = (at, at + 1.0)
    return Planted(((at, at + 1.0),))

"""Every fault that is planted into ground calls: its kind, its side, how its size is counted.

A planter is given a call (:class:`~tests.ground.take.Take`) and a size in the unit of the threshold
and returns what was planted where. It raises ``Unfit`` if the fault does not fit into that call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from tests.ground import planted_noise as noise
from tests.ground import planted_sound as sound
from tests.ground import planted_time as time
from tests.ground import planted_turns as turns
from tests.ground.planted_sound import Plant, Planted, Side
from tests.ground.take import Take, Unfit
from tests.ground.voices import Half
from tests.planting import scaled
from workbench.diagnosis import DETECTORS


@dataclass(frozen=True)
class Fault:
    """A way to plant a kind of fault.

    Parameters:
        kind: What should be found.
        name: What is planted.
        side: On which side.
        plant: Plants it.
        scale: How its size is counted: ``times`` the threshold, decibels above (``db``) or below
            (``-db``) it, ``over`` 1, or ``once``: it is there from size 1 on.
        which: The threshold that is meant.
        unit: The threshold's unit in that of the planter.
        also: Kinds that tell the same fault as well.
    """

    kind: str
    name: str
    side: Side | None
    plant: Plant
    scale: str = "times"
    which: int = 0
    unit: float = 1.0
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name} {self.side or 'call'}"

    def size(self, times: float) -> float:
        if self.scale == "once":
            return times
        threshold = DETECTORS[self.kind].thresholds[self.which].value * self.unit
        return scaled(threshold, self.scale, times)


def _wrong(name: str, side: Side) -> Fault:
    plant = partial(sound.misread, side=side, wrong=getattr(sound, name))
    return Fault("wrong_codec", name, side, plant, "once")


FAULTS = tuple(
    fault
    for fault in (
        # what the caller sends
        Fault("sequence_gap", "lost", "caller", time.lost),
        Fault("duplicate", "doubled", "caller", time.doubled),
        Fault("duplicate", "replayed", "caller", time.replayed, "once"),
        Fault("jitter", "stalled", "caller", time.stalled),
        Fault("loop_lag", "blocked", "bot", time.blocked, also=("underrun",)),
        Fault("one_way", "paused", "caller", time.paused),
        Fault("one_way", "ended", "caller", time.ended),
        Fault("one_way", "digital silence", "caller", sound.silence),
        Fault("clock_drift", "drifting", "caller", time.drifting),
        Fault("late_start", "piled up", "caller", time.piled_up, which=1),
        Fault("restart", "second stream", None, time.restarted, "once"),
        # when and what the bot sends
        Fault("underrun", "hole", "bot", time.hole),
        Fault("pacing", "paced", "bot", time.paced, "over", which=1),
        Fault("pacing", "at twice real time", "bot", time.hurried, "once"),
        Fault("pacing", "ahead", "bot", time.ahead),
        Fault("tail_lost", "tailless", "bot", time.tailless),
        Fault("audio_lost", "unsent", "bot", time.unsent, unit=0.001),
        Fault("one_way", "unsent", "bot", time.unsent, also=("audio_lost", "wrong_rate")),
        Fault("wrong_rate", "samples twice", "bot", time.twice, "once"),
        Fault("upsampled", "narrow", "bot", sound.narrow, "once"),
        Fault("aliasing", "folded", "bot", time.folded, "-db"),
        Fault("block_joint", "jointed", "bot", time.jointed, "once"),
        Fault("block_joint", "jointed", "caller", time.jointed_caller, "once"),
        *(
            Fault(
                "out_of_order",
                f"{name.replace('_', ' ')}, {ms} ms",
                "bot",
                partial(sound.in_pieces, way=getattr(sound, name), ms=ms),
                "once",
            )
            for name in ("each_fourth_left_out", "each_fourth_twice", "pairs_changed", "each_faded")
            for ms in (40, 100)
        ),
        Fault("dropout", "a stall that is filled", "bot", sound.silence_put_in, "once"),
        # how it sounds
        *(
            fault
            for side in ("caller", "bot")
            for fault in (
                Fault("clipping", "clipped", side, partial(sound.clipped, side=side)),
                Fault(
                    "clipping",
                    "before a conversion",
                    side,
                    partial(sound.clipped_before, side=side),
                    "once",
                ),
                Fault("dc_offset", "offset", side, partial(sound.offset, side=side)),
                Fault(
                    "level_mismatch",
                    "quiet",
                    None if side == "bot" else side,
                    partial(sound.quiet, side=side),
                    "db",
                ),
                Fault("dropout", "short hole", side, partial(sound.dropouts, side=side)),
                Fault(
                    "dropout",
                    "10 to 80 ms, three",
                    side,
                    partial(sound.long_dropouts, side=side),
                    "once",
                ),
                *(
                    _wrong(name, side)
                    for name in ("swapped", "shifted", "ulaw_as_pcm", "alaw_as_ulaw")
                    if side == "bot" or name == "alaw_as_ulaw"
                ),
            )
        ),
        Fault("wrong_codec", "A-law on the wire", "bot", time.alaw_on_wire, "once"),
        Fault("wrong_codec", "swapped on the wire", "bot", time.swapped_on_wire, "once"),
        Fault("wrong_codec", "mu-law as PCM on the wire", "bot", time.ulaw_as_pcm_on_wire, "once"),
        Fault("wrong_layout", "two in turns", "bot", sound.interleaved, "once"),
        Fault("container_header", "WAV header", "bot", sound.headed, "once"),
        *(
            Fault("noise", colour, "caller", partial(noise.noisy, colour=colour), "db")
            for colour in ("white", "pink", "street")
        ),
        Fault("noise", "car", "caller", noise.driving, "db"),
        Fault("noise", "hum", "caller", partial(noise.humming, side="caller"), "db"),
        Fault("noise", "hum", "bot", partial(noise.humming, side="bot"), "db"),
        Fault("noise", "hiss under words", "bot", noise.hissing, "db"),
        Fault("level_mismatch", "some sentences", "bot", sound.uneven, "db", which=1),
        Fault("echo", "echoing", "bot", partial(sound.echoing, talks=False), "-db"),
        Fault("echo", "double talk", "bot", partial(sound.echoing, talks=True), "-db"),
        Fault("onset_pop", "one", "bot", partial(sound.popping, count=1), "db"),
        Fault("onset_pop", "several", "bot", partial(sound.popping, count=4), "db"),
        # turns
        Fault("dead_air", "after the caller", "bot", turns.dead, also=("slow_response",)),
        Fault("slow_response", "waiting", "bot", turns.waiting, also=("dead_air",)),
        Fault("late_start", "late", "bot", turns.late),
        Fault("slow_barge_in", "yielding", "bot", turns.yielding),
        Fault("missing_clear", "uncleared", "bot", turns.uncleared),
        Fault("unheard_speech", "unheard", "bot", turns.unheard),
        Fault("false_barge_in", "unprompted", "bot", turns.unprompted, "once"),
        Fault("early_answer", "hasty", "bot", turns.hasty),
        Fault("stale_audio", "stale", "bot", turns.stale),
        Fault("stale_audio", "100 to 400 ms", "bot", turns.long_stale, "once"),
        # the end
        Fault("cut_goodbye", "cut off", "bot", turns.cut_off),
        Fault("broke_off", "in mid-word", None, turns.broken_off, "once", also=("cut_goodbye",)),
        Fault("slow_shutdown", "lingering", "bot", turns.lingering),
    )
)
#: Of kinds that there is no detector for.
UNKNOWN = tuple(fault for fault in FAULTS if fault.kind not in DETECTORS)
KNOWN = tuple(fault for fault in FAULTS if fault.kind in DETECTORS)
#: What is planted and is no fault.
DECOYS = {
    "clock 100 ppm slow": partial(time.drifting, ms=6.0),
    "goodbye not cut": partial(turns.cut_off, ms=800.0, audible=False),
    "recording with a hole": time.unrecorded,
}


def planted(
    fault: Fault, times: float, half: Half, seed: int, tries: int = 20
) -> tuple[Take, Planted]:
    """Plant a fault into one of the calls into which it fits.

    Raises:
        Unfit: If it fits into none of those that were tried.
    """
    for number in range(tries):
        take = Take(half, np.random.default_rng([seed, number]))
        try:
            return take, fault.plant(take, fault.size(times))
        except Unfit:
            continue
    raise Unfit(fault.label)

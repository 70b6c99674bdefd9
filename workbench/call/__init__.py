"""One call, rebuilt from its capture on one clock.

Conventions:
    Times in seconds since the first WebSocket message, in either direction, or since the earliest
    of the audio that had piled up before it (:attr:`Call.begun`). The five signals are
    :class:`workbench.audio.Audio` whose first sample is at 0; all last as long as the call, with
    silence where nothing was. A signal keeps the rate that it had; if that changed during the
    call, the rate of most of it.

================ ================================================= ================================
signal           what                                              placed by
================ ================================================= ================================
``caller_sent``  the caller, as it arrived on the wire             sequence numbers and arrival
``bot_heard``    the same, as the pipeline got it                  the message it was made from
``bot_said``     the bot, as the pipeline produced it              the queue model, on the frames
``bot_sent``     the same, as it left on the wire                  the queue model, on the messages
``caller_heard`` what the far end really played                    the same, cut by ``clear``
================ ================================================= ================================

``bot_said`` and ``bot_sent`` keep what an interruption threw away, up to where the bot speaks
again. ``caller_heard`` assumes a caller on G.711, which nearly every telephone call is; a wider
leg is :attr:`Call.played` through :mod:`workbench.tuning.legs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.call.answers import Answer as Answer
    from workbench.call.answers import Answers as Answers
    from workbench.call.call import Call as Call
    from workbench.call.ending import Ending as Ending
    from workbench.call.replay import Replayed as Replayed
    from workbench.call.replay import assert_same as assert_same
    from workbench.call.replay import replay_inbound as replay_inbound
    from workbench.call.signals import SIGNALS as SIGNALS
    from workbench.call.signals import Signal as Signal
    from workbench.call.stages import Stage as Stage
    from workbench.call.streams import Event as Event
    from workbench.call.streams import FrameRecord as FrameRecord
    from workbench.call.streams import HangUpRecord as HangUpRecord
    from workbench.call.streams import PipelineRecord as PipelineRecord
    from workbench.call.streams import Stream as Stream
    from workbench.call.turns import Turn as Turn
    from workbench.call.words import Word as Word
    from workbench.call.words import Words as Words

__all__ = [
    "Answer",
    "Answers",
    "Call",
    "Ending",
    "Event",
    "FrameRecord",
    "HangUpRecord",
    "PipelineRecord",
    "Replayed",
    "SIGNALS",
    "Signal",
    "Stage",
    "Stream",
    "Turn",
    "Word",
    "Words",
    "assert_same",
    "replay_inbound",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Answer": ".answers",
        "Answers": ".answers",
        "Call": ".call",
        "Ending": ".ending",
        "SIGNALS": ".signals",
        "Signal": ".signals",
        "Stage": ".stages",
        "Event": ".streams",
        "FrameRecord": ".streams",
        "HangUpRecord": ".streams",
        "PipelineRecord": ".streams",
        "Stream": ".streams",
        "Turn": ".turns",
        "Word": ".words",
        "Words": ".words",
        "Replayed": ".replay",
        "assert_same": ".replay",
        "replay_inbound": ".replay",
    },
)

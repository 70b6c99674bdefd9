"""Hear, see and tune what a Pipecat bot sends over Bandwidth.

::

    Tap(serializer, "captures/")       in the bot: one more line records the call
    call = Call.open(path)             five signals, events, turns, counters on one clock
    found = diagnose(call)             what is wrong, how bad, why, what to change
    comparison = compare(call)         the same call through every outbound setting
    tune([call]).export("tuned.json")  the setting to use, and how sure
    CallTimeline(call, found)          the player, in Jupyter
    survey("captures/")                many calls: which were bad, and what changed

============== ===================================================================================
in the bot     ``tap`` ``observer`` ``attach`` ``words`` ``capture``: light; they write a call's file
what happened  ``audio`` ``sound_files`` ``call``: signals, queue, turns, replay; ``budget``
what is wrong  ``diagnosis``: findings; ``python -m workbench.diagnosis`` lists the kinds
how measured   ``metrics``: levels, spectra, speech, distances between two signals
which setting  ``tuning``: settings, far legs, comparison, the choice, a carrier's recording
many calls     ``surveys``: a row a call, groups compared; ``workers``: work spread over captures
see and hear   ``timeline`` ``view`` ``panel`` ``report`` ``exports`` ``notes`` ``plots`` ``terminal``
calls to try   ``simulator``: Bandwidth's side on loopback; ``demo``: a real bot, a call to it;
               ``testing``: a pytest plugin, calls as tests of a bot
============== ===================================================================================

Importing this package imports nothing by itself; a name is imported when it is asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

# onnxruntime, which listens for voices, keeps and sends telemetry, unless it finds this when it is
# imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from workbench.audio import Audio as Audio
    from workbench.call import Call as Call
    from workbench.call.replay import replay as replay
    from workbench.diagnosis import Finding as Finding
    from workbench.diagnosis import Findings as Findings
    from workbench.diagnosis import diagnose as diagnose
    from workbench.exports import export as export
    from workbench.observer import PipelineEvents as PipelineEvents
    from workbench.panel import Panel as Panel
    from workbench.report import write_report as write_report
    from workbench.simulator import simulate as simulate
    from workbench.surveys import Survey as Survey
    from workbench.surveys import survey as survey
    from workbench.tap import Tap as Tap
    from workbench.timeline import BlindListening as BlindListening
    from workbench.timeline import CallTimeline as CallTimeline
    from workbench.tuning import compare as compare
    from workbench.tuning import tune as tune

__all__ = [
    "Audio",
    "BlindListening",
    "Call",
    "CallTimeline",
    "Finding",
    "Findings",
    "Panel",
    "PipelineEvents",
    "Survey",
    "Tap",
    "compare",
    "diagnose",
    "export",
    "replay",
    "simulate",
    "survey",
    "tune",
    "write_report",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Audio": ".audio",
        "BlindListening": ".timeline",
        "Call": ".call",
        "CallTimeline": ".timeline",
        "Finding": ".diagnosis",
        "Findings": ".diagnosis",
        "Panel": ".panel",
        "PipelineEvents": ".observer",
        "Survey": ".surveys",
        "Tap": ".tap",
        "compare": ".tuning",
        "diagnose": ".diagnosis",
        "export": ".exports",
        "replay": ".call.replay",
        "simulate": ".simulator",
        "survey": ".surveys",
        "tune": ".tuning",
        "write_report": ".report",
    },
)

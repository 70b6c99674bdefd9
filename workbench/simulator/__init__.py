"""Bandwidth's side of a call, on loopback and in real time.

:func:`simulate` calls a bot as Bandwidth does and returns what truly happened.

============= =================================================================================
module        holds
============= =================================================================================
platform      ``simulate``: one call from ``initiate`` to ``disconnect``
webhooks      the HTTP requests to the bot's server
route         where connections to the bot go, and whom they trust
bxml          the document that a webhook returned, read as strictly as Bandwidth does
verbs         its verbs: how long each takes, what it does to the call
start_stream  ``<StartStream>``
playing       the document as it is played, until the call is over
leg           the caller's side on a real 20 ms clock
stream        one live WebSocket
playback      the far end's queue: what is heard, underruns, ``clear``
caller        when the caller speaks, by what they hear
telephone     their phone: codec, noise, echo, overload
script        what both sides say: the file
line          jitter, loss, duplicates, reordering: when each packet leaves
voice_api     the OAuth and Voice API endpoints, with faults on demand
outbound      a call that the bot makes
calls         the calls that the Voice API knows, and what requests do to them
truth         ``SimulatedCall``: the ground truth of a call
============= =================================================================================
"""

from __future__ import annotations

from workbench.simulator.leg import Progress
from workbench.simulator.line import Line
from workbench.simulator.platform import simulate
from workbench.simulator.route import Route
from workbench.simulator.script import Script
from workbench.simulator.truth import SimulatedCall
from workbench.simulator.voice_api import Fault, VoiceAPIServer

__all__ = [
    "Fault",
    "Line",
    "Progress",
    "Route",
    "Script",
    "SimulatedCall",
    "VoiceAPIServer",
    "simulate",
]

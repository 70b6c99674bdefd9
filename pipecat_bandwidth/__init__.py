"""A Pipecat serializer for phone calls on Bandwidth Programmable Voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from pipecat_bandwidth.exceptions import BandwidthError as BandwidthError
    from pipecat_bandwidth.exceptions import ProtocolError as ProtocolError
    from pipecat_bandwidth.exceptions import VoiceAPIError as VoiceAPIError
    from pipecat_bandwidth.messages import Start as Start
    from pipecat_bandwidth.messages import parse as parse
    from pipecat_bandwidth.serializer import BandwidthFrameSerializer as BandwidthFrameSerializer
    from pipecat_bandwidth.voice_api import VoiceAPI as VoiceAPI

__all__ = [
    "BandwidthError",
    "BandwidthFrameSerializer",
    "ProtocolError",
    "Start",
    "VoiceAPI",
    "VoiceAPIError",
    "__version__",
    "parse",
]

__version__ = "1.0.0.dev0"

__getattr__, __dir__ = lazy(
    __name__,
    {
        "BandwidthError": ".exceptions",
        "BandwidthFrameSerializer": ".serializer",
        "ProtocolError": ".exceptions",
        "Start": ".messages",
        "VoiceAPI": ".voice_api",
        "VoiceAPIError": ".exceptions",
        "parse": ".messages",
    },
)

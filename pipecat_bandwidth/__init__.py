"""A Pipecat serializer for phone calls on Bandwidth Programmable Voice."""

from pipecat_bandwidth.exceptions import BandwidthError, ProtocolError, VoiceAPIError
from pipecat_bandwidth.serializer import BandwidthFrameSerializer

__all__ = [
    "BandwidthError",
    "BandwidthFrameSerializer",
    "ProtocolError",
    "VoiceAPIError",
    "__version__",
]

__version__ = "0.1.0"

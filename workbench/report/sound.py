"""What is heard in a report: MP3, which every browser plays, in so few bytes that it can be mailed.

A mail may have 20 MB, and base64 adds a third. So the whole signals of a call are apart as long as
that is cheap; of a longer call both sides are one player, at a lower rate.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from typing import Final, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import SIGNALS, Call

__all__ = ["APART_SECS", "Player", "flac", "mp3", "players", "uri"]

#: 0 to 1: variable rate, some 13 kbit/s for 8 kHz and 28 kbit/s for 24 kHz of speech.
MP3_COMPRESSION: Final = 0.7
#: The same for both sides of a long call in one: 11 kbit/s on average, 6.5 MB of a page an hour.
LONG_COMPRESSION: Final = 0.97
#: A longer call is heard as one player: three take 0.45 MB of the page a minute.
APART_SECS: Final = 900.0

#: The rates that there are in MP3 (ISO/IEC 11172-3, 13818-3 and MPEG-2.5), in hertz.
_MP3_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
#: Signals that are players of their own; and those that together are what was said and heard.
_APART: Final = ("caller_sent", "bot_said", "caller_heard")
_TOGETHER: Final = ("caller_sent", "caller_heard")

#: Samples that are mixed and coded at once.
_BLOCK: Final = 1 << 18

#: What the page is told of a player: ``name``, ``what`` it is, and ``src``.
Player = dict[str, str]


def players(call: Call, sides: Collection[str]) -> list[Player]:
    """Players of the whole call, of one side or of both.

    Args:
        call: The call.
        sides: Whose voice may be heard.

    Returns:
        One for each of three signals; of a call of more than :data:`APART_SECS` one for all that
        the caller sent and heard.
    """
    if call.duration <= APART_SECS:
        return [
            {"name": name, "what": SIGNALS[name].sentence, "src": mp3(call.signal(name))}
            for name in _APART
            if SIGNALS[name].side in sides
        ]
    names = [name for name in _TOGETHER if SIGNALS[name].side in sides]
    if not names:
        return []
    sides_of = [call.signal(name).resampled(8000).samples for name in names]
    shortest = min(map(len, sides_of))  # of an odd number at 16 kHz half is rounded up
    samples: NDArray[np.float32] = mapped.zeros(shortest, np.float32)
    for side in sides_of:
        for first, block in mapped.blocks(side[:shortest], _BLOCK):
            part = samples[first : first + len(block)]
            np.clip(part + block, -1, 1, out=part)
            mapped.let_go(part)
    heard = Audio(samples, 8000)
    what = "; ".join(SIGNALS[name].sentence for name in names)
    src = mp3(heard, LONG_COMPRESSION, "AVERAGE")
    return [{"name": " + ".join(names), "what": what, "src": src}]


def mp3(
    audio: Audio,
    compression: float = MP3_COMPRESSION,
    mode: Literal["VARIABLE", "AVERAGE"] = "VARIABLE",
) -> str:
    """Small, every browser plays it, and good enough to hear what happened.

    Args:
        audio: Any.
        compression: 0 to 1, see :data:`MP3_COMPRESSION`.
        mode: Of the bit rate.
    """
    rate = next((rate for rate in _MP3_RATES if rate >= audio.sample_rate), _MP3_RATES[-1])
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, 1, format="MP3", compression_level=compression, bitrate_mode=mode
    ) as file:
        for _, block in mapped.blocks(audio.resampled(rate).samples, _BLOCK):
            file.write(block)
    return uri("audio/mpeg", buffer.getvalue())


def flac(audio: Audio) -> str:
    """To compare by ear: nothing is lost, and sample n stays where it was."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples, audio.sample_rate, format="FLAC", subtype="PCM_16")
    return uri("audio/flac", buffer.getvalue())


def uri(media_type: str, content: bytes) -> str:
    """Bytes as a part of the page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"

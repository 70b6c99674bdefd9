"""Pipecat frames to Bandwidth's messages and back.

::

    caller --media--> deserialize --InputAudioRawFrame--> bot
    caller <-playAudio- serialize <-OutputAudioRawFrame-- bot
              <-clear-            <-InterruptionFrame----
           <-hang-up-             <-EndFrame, CancelFrame   (through the Voice API)

Nothing that arrives raises out of :meth:`BandwidthFrameSerializer.deserialize`: in Pipecat's
transports that would end the receive loop, hence the bot, hence the caller's call.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from loguru import logger
from pipecat.frames.frames import (
    AudioRawFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.base_serializer import FrameSerializer

from pipecat_bandwidth.encodings import PCMU, ulaw2lin, wire_format
from pipecat_bandwidth.exceptions import ProtocolError
from pipecat_bandwidth.far_end import FarEnd
from pipecat_bandwidth.hanging_up import HangingUp, Outcome, hang_up_problem, start
from pipecat_bandwidth.messages import (
    MAX_MESSAGE_SIZE,
    Clear,
    Media,
    Message,
    Other,
    Start,
    Stop,
    Track,
    account_text,
    decode_media,
    encode,
    parse,
    play_audio_writer,
)
from pipecat_bandwidth.mono import to_mono
from pipecat_bandwidth.params import InputParams
from pipecat_bandwidth.resampler import RATES, StreamResampler
from pipecat_bandwidth.stats import Sequence, Stats

if TYPE_CHECKING:
    from pipecat.frames.frames import StartFrame
    from pipecat.processors.frame_processor import FrameProcessorSetup

    from pipecat_bandwidth.voice_api import VoiceAPI

__all__ = ["BandwidthFrameSerializer"]

#: Seconds between two log lines about bad messages.
_LOG_EVERY_SECS: Final = 10.0

#: Longest audio in one message that is sent without a warning. In a longer one the first sample has
#: waited for the last, and Bandwidth documents no limit. It cannot be split: Pipecat's ``serialize``
#: returns one message for a frame.
_LONG_MS: Final = 100.0

#: Largest frame that is sent, in bytes: 262 s at 8 kHz, 44 s at 48 kHz. Converting one takes half a
#: second, in which the caller's audio waits; one of 40 MB would take 4.6 s.
_MOST_BYTES: Final = 4 * 1024 * 1024

#: At most so many unknown event types are logged, once each.
_MOST_TYPES: Final = 8


class BandwidthFrameSerializer(FrameSerializer):
    """Serializer for Bandwidth Programmable Voice's bidirectional media streams.

    ``call_id`` and ``account_id`` go into an authenticated request that ends a call. They must come
    from a source that the server trusts, such as the body of the authenticated voice webhook, and
    never from the WebSocket's ``start`` message, which anyone can send.

    One serializer serves one stream, once: a second ``start``, or one after ``stop``, is ignored,
    and so is the ``stop`` of another stream.

    DTMF does not come over the WebSocket; Bandwidth posts it to a webhook.

    Event handlers available:

    - on_stream_start(serializer, start): the stream has begun; ``start`` is a
      :class:`pipecat_bandwidth.messages.Start`, not authenticated.
    - on_stream_stop(serializer): the stream has ended.
    - on_hang_up(serializer, outcome): a hang-up has come to an end; ``outcome`` is an
      :class:`pipecat_bandwidth.hanging_up.Outcome`, true when the call is over.

    Example::

        serializer = BandwidthFrameSerializer(
            stream_id=stream_id,
            call_id=call_id,
            account_id=account_id,
            client_id=os.environ["BANDWIDTH_CLIENT_ID"],
            client_secret=os.environ["BANDWIDTH_CLIENT_SECRET"],
        )
    """

    InputParams: TypeAlias = InputParams

    def __init__(
        self,
        stream_id: str,
        call_id: str | None = None,
        account_id: str | int | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        params: InputParams | None = None,
        *,
        voice_api: VoiceAPI | None = None,
        clock: Callable[[], float] = time.monotonic,
        log: Callable[[str, str], None] | None = None,
    ) -> None:
        """Bind the serializer to one stream.

        Args:
            stream_id: The stream's id, from ``start``: a label.
            call_id: The call to hang up, from a trusted source.
            account_id: Its account, from a trusted source; a number is taken as its text.
            client_id: OAuth client id for the Voice API.
            client_secret: OAuth client secret for the Voice API.
            params: Configuration.
            voice_api: A client to hang up with, instead of one made of the two above (and of
                ``BANDWIDTH_VOICE_URL`` and ``BANDWIDTH_TOKEN_URL``, where the environment has
                them): with other URLs, or to share a token between calls. The serializer never closes it.
            clock: Where the time comes from, in seconds: a captured call's, when it is replayed.
            log: Takes the serializer's lines, each as level and text, instead of loguru.

        Raises:
            ValueError: If ``stream_id`` is empty or ``params`` are another serializer's; or if the
                call is to be hung up and what that takes is missing or no string, an id is not 1 to
                256 letters, digits, ``-`` or ``_``, or an address of the environment is no good.
        """
        kind: type = type(params)
        if params is not None and not issubclass(kind, BandwidthFrameSerializer.InputParams):
            raise ValueError(
                "params must be BandwidthFrameSerializer.InputParams, "
                f"not {kind.__module__}.{kind.__qualname__}"
            )
        self._params: BandwidthFrameSerializer.InputParams = params or self.InputParams()
        super().__init__(self._params)
        if not isinstance(stream_id, str) or not stream_id:
            raise ValueError(f"{stream_id=} must be a string that is not empty")
        self._stream_id = stream_id
        self._call_id = call_id
        self._account_id = account_text(account_id)
        self._hanging_up: HangingUp | None = None  # that stays, even if the params are changed
        if self._params.auto_hang_up:
            needed = (call_id, self._account_id, client_id, client_secret, voice_api)
            problem = hang_up_problem(*needed)
            if problem:
                raise ValueError(problem)
            self._hanging_up = HangingUp(*needed)
            self._hanging_up.listeners.append(self._tell_outcome)
        self._clock = clock
        self._log_to = log

        self._stats = Stats()
        self._sequence = Sequence(self._stats)
        self._stream_format: Track | None = None
        self._stopped = False
        self._announced_id = ""
        self._other_types: set[str] = set()
        self._bad_logged = 0
        self._warned: set[str] = set()
        self._next_log = -math.inf

        self._wire = wire_format(
            self._params.outbound_encoding,
            self._params.outbound_pcm_sample_rate
            if self._params.outbound_encoding == "PCM"
            else self._params.bandwidth_sample_rate,
        )
        self._write = play_audio_writer(self._wire.content_type, self._wire.encoder())
        self._far_end = FarEnd(self._wire.sample_rate)
        self._cushion_secs = self._params.outbound_cushion_ms / 1000
        self._inbound = StreamResampler(PCMU.sample_rate, self._params.sample_rate or 8000)
        self._stats.inbound_delay_ms = self._inbound.delay_ms
        self._outbound: StreamResampler | None = None  # the first audio tells its rate
        self._clear_after = self._params.resampler_clear_after_secs
        self._last_audio: dict[str, float] = {}

        self._register_event_handler("on_stream_start")
        self._register_event_handler("on_stream_stop")
        self._register_event_handler("on_hang_up")

    @property
    def stream_id(self) -> str:
        """The stream that this serializer is bound to."""
        return self._stream_id

    @property
    def call_id(self) -> str | None:
        """The call that it would hang up."""
        return self._call_id

    @property
    def account_id(self) -> str | None:
        """The account of that call."""
        return self._account_id

    @property
    def hanging_up(self) -> HangingUp | None:
        """What ends the call; ``None`` without ``auto_hang_up``."""
        return self._hanging_up

    @property
    def stream_format(self) -> Track | None:
        """The caller's track as ``start`` announced it; ``None`` before, or without one."""
        return self._stream_format

    @property
    def stats(self) -> Stats:
        """A copy of the counters as they stand."""
        return replace(self._stats)

    async def setup(  # type: ignore[override]
        self, setup: FrameProcessorSetup | StartFrame
    ) -> None:
        """Learn the pipeline's rate. Pipecat calls this once per direction.

        Args:
            setup: Pipecat's object with ``audio_in_sample_rate``: a StartFrame up to Pipecat 1.7, a
                FrameProcessorSetup from 1.8 on.
        """
        rate: Any = self._params.sample_rate or getattr(setup, "audio_in_sample_rate", None)
        if type(rate) is not int or rate not in RATES:
            self._warn_once(
                "in rate",
                f"audio_in_sample_rate={rate!r:.40} is not one of {RATES}; the caller's audio goes "
                "into the pipeline at 8000 Hz",
            )
            rate = PCMU.sample_rate
        if rate != self._inbound.out_rate:
            self._inbound = StreamResampler(PCMU.sample_rate, rate)
        self._stats.inbound_delay_ms = self._inbound.delay_ms
        if self._inbound.delay_ms:
            setting = "sample_rate" if self._params.sample_rate else "audio_in_sample_rate"
            self._warn_once(
                "inbound",
                f"the caller's audio is resampled from 8000 to {rate} Hz, which adds "
                f"{self._inbound.delay_ms:.1f} ms; {setting}=8000 avoids it",
            )

    # -- from the caller ---------------------------------------------------------------------------

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Read a message.

        Args:
            data: What arrived; anything at all.

        Returns:
            The caller's audio, or ``None`` when the message holds none.
        """
        stats = self._stats
        stats.messages_in += 1
        try:
            size = len(data)
            stats.bytes_in += size
            try:
                if size > MAX_MESSAGE_SIZE:
                    raise ProtocolError
                message = decode_media(data)
            except Exception:
                other = parse(data)
                if type(other) is not Media:
                    await self._handle_control(other)
                    return None
                message = other
            # Inlined, with the C functions behind parse, Media.is_inbound and PCMU.decode: this runs
            # fifty times a second.
            if message.track != "inbound" and message.track is not None:
                stats.other_track += 1
                return None
            if self._stopped:
                stats.after_stop += 1
                return None
            sequence, inbound = self._sequence, self._inbound
            if message.sequence_number == sequence.expected:
                sequence.expected = next(sequence.upcoming)
            else:
                sequence.follow(message.sequence)
            pcm = ulaw2lin(message.payload, 2)
            if not pcm:
                return None
            duration = len(pcm) / 16
            stats.wire_in_ms += duration
            if inbound.delay_ms:
                self._clear_if_stale("inbound", inbound)
                pcm = inbound.process(pcm)
                duration = len(pcm) * 500 / inbound.out_rate
            stats.audio_in_ms += duration
            return InputAudioRawFrame(pcm, inbound.out_rate, 1)
        except ProtocolError as error:
            self._refuse(str(error))
        except Exception as error:  # an exception here would hang up the caller
            self._refuse(type(error).__name__)
        return None

    async def _handle_control(self, message: Message) -> None:
        """Take note of a message without audio."""
        if type(message) is Start:
            await self._handle_start(message)
        elif type(message) is Stop:
            await self._handle_stop(message)
        else:
            self._ignore(message)

    async def _handle_start(self, start: Start) -> None:
        """Handle the first start; a later one, or one after a stop, is ignored."""
        self._stats.starts += 1
        if self._stats.starts > 1 or self._stopped:
            which = "second start message" if self._stats.starts > 1 else "start message after stop"
            self._warn_once("starts", f"a {which}; it is ignored")
            return
        self._announced_id = start.stream_id
        for what, announced, known in (
            ("stream", start.stream_id, self._stream_id),
            ("call", start.call_id, self._call_id),
        ):
            if announced and known and announced != known:
                self._warn_once(
                    f"{what} id",
                    f"start announces the {what} {_clean(announced)}, this serializer was made "
                    f"for {_clean(known)}",
                )
        track = next((track for track in start.tracks if track.name == "inbound"), None)
        self._stream_format = track
        if track is None:
            self._warn_once(
                "format", "start announces no inbound track; PCMU at 8000 Hz is assumed"
            )
        elif (track.encoding, track.sample_rate) != (PCMU.encoding, PCMU.sample_rate):
            self._warn_once(
                "format",
                f"start announces {_clean(track.encoding) or 'no encoding'} at "
                f"{track.sample_rate} Hz; it is read as PCMU at 8000 Hz, the only format that "
                "Bandwidth documents",
            )
        self._log("stream started", "DEBUG")
        await self._call_event_handler("on_stream_start", start)

    async def _handle_stop(self, stop: Stop) -> None:
        """Handle a stop, unless it names another stream."""
        if stop.stream_id and stop.stream_id not in (self._announced_id, self._stream_id[:256]):
            self._stats.other += 1
            self._warn_once(
                "stop", f"a stop of the stream {_clean(stop.stream_id)}, not ours; it is ignored"
            )
        elif not self._stopped:
            self._stopped = True
            if self._hanging_up is not None:
                self._hanging_up.hurry()
            self._log("stream stopped", "DEBUG")
            self._log_bad_count()
            await self._call_event_handler("on_stream_stop")

    def _ignore(self, message: Message) -> None:
        """Count a message that says nothing here, and log the first of each of a few types."""
        self._stats.other += 1
        if isinstance(message, Other):
            name, why = message.event_type, "is not known here"
        else:
            name, why = "clear" if isinstance(message, Clear) else "playAudio", "is ours to send"
        if name not in self._other_types and len(self._other_types) < _MOST_TYPES:
            self._other_types.add(name)
            self._log(f"a message of type {_clean(name)}, which {why}; it is ignored")

    def _log_bad_count(self) -> None:
        """Log how many messages were bad, unless that was logged."""
        if self._stats.bad > self._bad_logged:
            self._bad_logged = self._stats.bad
            self._log(f"{self._stats.bad} of {self._stats.messages_in} messages were bad")

    def _refuse(self, reason: str) -> None:
        """Count a bad message, and log the first and then at most one line per interval."""
        self._stats.bad += 1
        now = self._clock()
        if now < self._next_log:
            return
        self._next_log = now + _LOG_EVERY_SECS
        bad = self._stats.bad
        what = "bad message" if bad == 1 else f"{bad} bad messages so far, the last"
        self._log(f"{what}: {_clean(reason)}")

    # -- to the caller -----------------------------------------------------------------------------

    async def serialize(self, frame: Frame) -> str | None:
        """Write what a frame asks for.

        An EndFrame or a CancelFrame hangs up, and comes back when that is done or has failed, after
        :class:`pipecat_bandwidth.voice_api.VoiceAPI`'s deadline at the latest. Before that an
        EndFrame waits until the far end will have played the last sound that it was sent, at most
        ``hang_up_after_secs``. It stops waiting at a ``stop``, at a CancelFrame, at an
        interruption, and when whoever waits for it is cancelled.

        Args:
            frame: Any frame. The caller's own audio is never sent back.

        Returns:
            The message, or ``None`` when there is nothing to send. For an EndFrame: the last 4 ms
            that the resampler holds, normally the end of the silence that Pipecat puts behind the
            bot's last words. They are sent after the hang-up, so the caller does not hear them;
            after a ``stop`` they are dropped.
        """
        if isinstance(frame, InputAudioRawFrame):
            return None
        if isinstance(frame, AudioRawFrame):
            return self._serialize_audio(frame)
        if isinstance(frame, InterruptionFrame):
            if self._outbound is not None:
                self._outbound.reset()
            self._far_end.clear()
            if self._hanging_up is not None:
                self._hanging_up.hurry()
            return self._counted(encode(Clear()))
        if isinstance(frame, (EndFrame, CancelFrame)):
            self._log_bad_count()
            if self._hanging_up is not None:
                await self._hanging_up.request(self._goodbye_secs(frame))
            return self._play_audio(self._flush()) if isinstance(frame, EndFrame) else None
        if isinstance(frame, (OutputTransportMessageFrame, OutputTransportMessageUrgentFrame)):
            return self._serialize_transport_message(frame)
        return None

    def _serialize_audio(self, frame: AudioRawFrame) -> str | None:
        pcm = frame.audio
        if (
            type(pcm) is not bytes
            or not pcm
            or frame.num_channels != 1
            or len(pcm) % 2
            or len(pcm) > _MOST_BYTES
            or pcm[:4] == b"RIFF"
        ):
            pcm = self._mono(frame)
            if not pcm:
                return None
        if self._stopped:
            self._stats.after_stop += 1
            return None
        rate, tail, outbound = frame.sample_rate, b"", self._outbound
        if outbound is None or rate != outbound.in_rate:
            tail = self._flush()
            outbound = self._open_outbound(rate)
            if outbound is None:
                return self._play_audio(tail)
        duration = len(pcm) * 500 / outbound.in_rate
        self._stats.audio_out_ms += duration
        if duration > _LONG_MS and "long" not in self._warned and pcm.strip(b"\0"):
            self._warn_once(
                "long",
                f"{duration:.0f} ms of audio in one message: its beginning has waited for its end, "
                "and how long a message may be is not documented; audio_out_10ms_chunks=4 sends "
                "40 ms at a time",
            )
        if outbound.delay_ms:
            self._clear_if_stale("outbound", outbound)
            pcm = outbound.process(pcm)
        return self._play_audio(tail + pcm if tail else pcm)

    def _goodbye_secs(self, frame: Frame) -> float:
        """How long the last words are still to be heard, if they are to be waited for."""
        if self._stopped or not isinstance(frame, EndFrame):
            return 0.0
        return min(self._far_end.sounding_secs(self._clock()), self._params.hang_up_after_secs)

    def _play_audio(self, pcm: bytes) -> str | None:
        if not pcm:
            return None
        now, far_end, stats = self._clock(), self._far_end, self._stats
        if self._cushion_secs and far_end.begins(pcm, now):
            pcm = self._cushion(far_end.lead_secs(now)) + pcm
        far_end.append(pcm, now)
        message = self._write(pcm)
        stats.wire_out_ms += len(pcm) * 500 / self._wire.sample_rate
        stats.messages_out += 1
        stats.bytes_out += len(message)
        return message

    def _cushion(self, lead_secs: float) -> bytes:
        """Silence that is missing of a whole cushion; some may be queued already."""
        samples = round((self._cushion_secs - lead_secs) * self._wire.sample_rate)
        if samples <= 0:
            return b""
        self._stats.cushions += 1
        self._stats.cushion_out_ms += 1000 * samples / self._wire.sample_rate
        return bytes(2 * samples)

    def _counted(self, message: str) -> str | None:
        if self._stopped:
            return None
        self._stats.messages_out += 1
        self._stats.bytes_out += len(message)
        return message

    def _flush(self) -> bytes:
        """Take what the outbound resampler still holds."""
        if self._outbound is None or self._stopped:
            return b""
        tail = self._outbound.flush()
        self._stats.tail_out_ms += len(tail) * 500 / self._outbound.out_rate
        return tail

    def _open_outbound(self, rate: Any) -> StreamResampler | None:
        """Begin to convert from a rate, if it is one."""
        if type(rate) is not int or rate not in RATES:
            self._warn_once(
                "out rate", f"audio is not sent: sample_rate={rate!r:.40} is not one of {RATES}"
            )
            return None
        self._outbound = outbound = StreamResampler(rate, self._wire.sample_rate)
        self._stats.outbound_delay_ms = outbound.delay_ms
        if outbound.delay_ms:
            self._warn_once(
                "outbound",
                f"the bot's audio is resampled from {rate} to {outbound.out_rate} Hz, which adds "
                f"{outbound.delay_ms:.1f} ms; audio_out_sample_rate={outbound.out_rate} avoids it",
            )
        return outbound

    def _mono(self, frame: AudioRawFrame) -> bytes:
        """Make whole mono samples of a frame that does not hold just that."""
        given = frame.audio
        size = len(given) if isinstance(given, (bytes, bytearray, memoryview)) else 0
        if size > _MOST_BYTES:
            self._warn_once(
                "large",
                f"a frame of {size} bytes of audio is not sent, the largest has {_MOST_BYTES}: "
                "cut it into pieces, or let Pipecat's transport do so",
            )
            return b""
        pcm, remarks = to_mono(frame.audio, frame.num_channels)
        for what, text in remarks:
            self._warn_once(what, text)
        return pcm

    def _serialize_transport_message(
        self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame
    ) -> str | None:
        try:
            message: object = frame.message
            if not isinstance(message, dict):
                raise TypeError(f"not a dict but {type(message).__name__}")
            if self.should_ignore_frame(frame):
                return None
            return self._counted(json.dumps(message, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            self._warn_once("message", f"a transport message is not sent: {_clean(str(error))}")
            return None

    # -- small things ------------------------------------------------------------------------------

    def _tell_outcome(self, outcome: Outcome) -> None:
        """Tell how a hang-up came out, in the log and to event handlers."""
        if not outcome:
            self._log(f"call {self._call_id} may still be up: {outcome.reason}", "ERROR")
        if outcome.outcome != "cancelled":  # with the event loop, which runs no new tasks then
            start(self._call_event_handler("on_hang_up", outcome))

    def _clear_if_stale(self, side: str, resampler: StreamResampler) -> None:
        """Forget what a resampler holds, if the time set for that has passed without audio."""
        if self._clear_after is None:
            return
        now = self._clock()
        if now - self._last_audio.get(side, now) > self._clear_after:
            resampler.reset()
        self._last_audio[side] = now

    def _warn_once(self, what: str, text: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            self._log(text)

    def _log(self, text: str, level: str = "WARNING") -> None:
        """Log a line; a sink that fails, such as a full disk's, is no reason to end a call."""
        with suppress(Exception):
            if self._log_to is None:
                logger.opt(depth=1).log(level, f"{self}: {text}")
            else:
                self._log_to(level, text)


def _clean(text: str) -> str:
    """Make foreign text fit for one log line."""
    return re.sub(r"[^ -~]", "?", text[:200])

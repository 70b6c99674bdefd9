"""The caller's telephone, live: speech, room noise, echo and overload to mu-law, 20 ms at a time.

Speech goes through the phone's own band limit and GSM codec before the call begins, turn by turn;
noise and echo are added while it runs (a phone sends comfort noise, not coded noise, in pauses).

References:
    ETSI EN 300 961, GSM 06.10 full rate: libsndfile's coder.
"""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from workbench.audio import Audio
from workbench.simulator.script import Channel, Clipping, Echo, Fault, NoiseBurst

__all__ = ["SAMPLE_RATE", "Telephone", "line_ready"]

SAMPLE_RATE: Final = 8000

Samples = NDArray[np.float32]

#: The noise repeats after so many seconds, without a seam.
_NOISE_SECS: Final = 30
#: The loudest that the line carries: just short of mu-law's last step.
_CEILING: Final = 0.98


class Telephone:
    """Mixes what the caller's line carries; samples in, int16 out, block after block.

    Args:
        channel: Gain, noise and band.
        echo: The script's echo, if it has one; the loudspeaker is on while it is active.
        seed: Of the noise.
    """

    def __init__(self, channel: Channel, echo: Echo | None = None, seed: int = 0) -> None:
        """See the class."""
        self._position = 0
        self._noise = _pink_noise(channel, 10 ** (channel.noise_dbov / 20), seed)
        self._street = _pink_noise(channel, 1.0, seed + 1)
        self._echo = _EchoPath(channel, echo) if echo else None

    def mix(self, speech: Samples, far: Samples, active: dict[Fault, float]) -> NDArray[np.int16]:
        """Make the next block.

        Args:
            speech: What the caller says, from :func:`line_ready`; shape ``(n,)``.
            far: What is played to the caller in the same time, at 8 kHz; shape ``(n,)``.
            active: The faults in force now, and how far through each is, 0 to 1.

        Returns:
            What goes to mu-law, shape ``(n,)``.
        """
        at = np.arange(self._position, self._position + len(speech))
        self._position += len(speech)
        line = speech + self._noise.take(at, mode="wrap")
        gain = 1.0
        for fault, progress in active.items():
            if isinstance(fault, NoiseBurst):
                swell = math.sin(math.pi * progress) ** 2 * 10 ** (fault.dbov / 20)
                line = line + np.float32(swell) * self._street.take(at, mode="wrap")
            elif isinstance(fault, Echo) and self._echo is not None:
                line = line + self._echo.process(far)
            elif isinstance(fault, Clipping):
                gain = 10 ** (fault.gain_db / 20)
        block: NDArray[np.int16] = np.rint(
            np.clip(line * gain, -_CEILING, _CEILING) * 32767
        ).astype(np.int16)
        return block


def line_ready(audio: Audio, channel: Channel, *, speakerphone: bool = False) -> Samples:
    """Bring one turn to the line: 8 kHz, the room, gain, band limit, the phone's codec.

    Args:
        audio: What the caller says.
        channel: Gain and band.
        speakerphone: Whether the caller stands away from the microphone, in a room.
    """
    speech: Samples = audio.resampled(SAMPLE_RATE).samples
    if speakerphone:
        room = _room(seed=9, secs=0.3, direct=0.6, tail=0.6)
        speech = signal.fftconvolve(speech, room)[: len(speech) + SAMPLE_RATE // 5]
    band = _band(*channel.band_hz)
    return _gsm(signal.sosfilt(band, speech * channel.mic_gain).astype(np.float32))


class _EchoPath:
    """What of the far end's sound comes back: small loudspeaker, room, delay, the phone's band."""

    def __init__(self, channel: Channel, echo: Echo) -> None:
        self._loudspeaker = _band(350.0, 3000.0)
        self._phone = _band(*channel.band_hz)
        self._room = _room(seed=5, secs=0.15, direct=0.8, tail=0.6)
        self._room *= np.float32(10 ** (-echo.echo_return_loss_db / 20))
        self._states = [np.zeros((len(sos), 2)) for sos in (self._loudspeaker, self._phone)]
        self._before = np.zeros(len(self._room) - 1)
        self._delay = np.zeros(round(echo.delay_ms * SAMPLE_RATE / 1000))

    def process(self, far: Samples) -> Samples:
        """Return the echo that arrives while ``far`` is played."""
        driven = np.tanh(2 * far.astype(np.float64)) / 2
        sound, self._states[0] = signal.sosfilt(self._loudspeaker, driven, zi=self._states[0])
        sound = np.concatenate([self._before, sound])
        self._before = sound[len(far) :]
        sound = np.convolve(sound, self._room, "valid")
        sound, self._states[1] = signal.sosfilt(self._phone, sound, zi=self._states[1])
        self._delay = np.concatenate([self._delay, sound])
        late, self._delay = self._delay[: len(far)], self._delay[len(far) :]
        return late.astype(np.float32)


def _band(low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(signal.butter(4, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"))


def _room(seed: int, secs: float, direct: float, tail: float) -> Samples:
    """Impulse response: the direct sound, 4 ms of nothing, noise that decays 60 dB in ``secs``."""
    n = int(secs * SAMPLE_RATE)
    response = np.random.default_rng(seed).standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    response[: int(0.004 * SAMPLE_RATE)] = 0.0
    response *= tail / math.sqrt(float(np.sum(response**2)))
    response[0] = direct
    return response.astype(np.float32)


def _pink_noise(channel: Channel, rms: float, seed: int) -> Samples:
    """Periodic pink noise of that RMS, then band-limited like everything on the line."""
    n = _NOISE_SECS * SAMPLE_RATE
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    spectrum *= np.where(frequency < 40, 0.0, 1 / np.sqrt(np.maximum(frequency, 1.0)))
    scale = rms / math.sqrt(float(np.mean(np.fft.irfft(spectrum, n) ** 2)))
    _, response = signal.freqz_sos(_band(*channel.band_hz), frequency, fs=SAMPLE_RATE)
    return (np.fft.irfft(spectrum * np.abs(response), n) * scale).astype(np.float32)


def _gsm(speech: Samples) -> Samples:
    """Code and decode; libsndfile packs two frames of 160 samples together."""
    padded = np.clip(np.pad(speech, (0, -len(speech) % 320)), -1.0, 0.9999)
    file = io.BytesIO()
    soundfile.write(file, padded, SAMPLE_RATE, format="WAV", subtype="GSM610")
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded[: len(speech)]

"""Callers that are no voice, or hardly one: each a function of a generator and a length.

All are at 8 kHz and about as loud as a caller. Those that are made of voices or music take them
from one half of the catalogue: :func:`callers`.

References:
    ITU-T Q.23, Q.24: DTMF. ITU-T T.30: CNG (1100 Hz, 0.5 s in 3.5 s) and CED (2100 Hz).
    ITU-T V.21: 980/1180 and 1650/1850 Hz at 300 bit/s. ITU-T E.180, supplement 2: national tones.
    3GPP TS 46.011: substitution of lost frames of full-rate GSM, repeated and muted.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from tests.ground.filling import trimmed
from tests.ground.voices import Half, Phrase, catalogue, levelled
from workbench.audio import Audio

Sound: TypeAlias = Callable[[np.random.Generator, float], Audio]
Samples: TypeAlias = NDArray[np.float64]

RATE = 8000
FADE = 160  # samples over which one piece of speech goes over into another
KEYS = {
    key: (low, high)
    for low, row in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for high, key in zip((1209, 1336, 1477, 1633), row, strict=True)
}
#: Frequencies in hertz, then seconds on and off by turns.
RINGING = {
    "us": ((440, 480), (2.0, 4.0)),
    "uk": ((400, 450), (0.4, 0.2, 0.4, 2.0)),
    "de": ((425,), (1.0, 4.0)),
    "fr": ((440,), (1.5, 3.5)),
    "jp": ((384, 416), (1.0, 2.0)),
}
BUSY = {
    "us": ((480, 620), (0.5, 0.5)),
    "uk": ((400,), (0.375, 0.375)),
    "de": ((425,), (0.48, 0.48)),
    "it": ((425,), (0.5, 0.5)),
    "us_congestion": ((480, 620), (0.25, 0.25)),
}


# -- small parts ---------------------------------------------------------------------------------


def _time(secs: float) -> Samples:
    return np.arange(round(secs * RATE)) / RATE


def _tones(frequencies: tuple[float, ...], secs: float) -> Samples:
    time = _time(secs)
    return np.sum([np.sin(2 * np.pi * f * time) for f in frequencies], axis=0)


def _as_long(samples: Samples, secs: float) -> Samples:
    """Repeated and cut to a length."""
    return np.resize(samples, round(secs * RATE))


def _audio(samples: Samples, dbov: float = -23.0) -> Audio:
    return levelled(Audio(np.asarray(samples, np.float32), RATE), dbov)


def _band(samples: Samples, low: float, high: float) -> Samples:
    return sosfilt(butter(2, (low, high), "bandpass", fs=RATE, output="sos"), samples)


def _cadence(tone: tuple[tuple[float, ...], tuple[float, ...]], secs: float) -> Audio:
    frequencies, times = tone
    pieces = [
        _tones(frequencies, length) * (number % 2 == 0) for number, length in enumerate(times)
    ]
    return _audio(_as_long(np.concatenate(pieces), secs), -20.0)


def _bursts(
    rng: np.random.Generator, secs: float, gap: tuple[float, float], burst: Callable[[], Samples]
) -> Audio:
    """Short sounds, one after the other, with pauses between them."""
    out = np.zeros(round(secs * RATE))
    at = rng.uniform(0, gap[0])
    while at < secs:
        piece = burst()
        first = round(at * RATE)
        piece = piece[: len(out) - first]
        out[first : first + len(piece)] += piece
        at += len(piece) / RATE + rng.uniform(*gap)
    return _audio(out)


# -- machines ------------------------------------------------------------------------------------


def keys(rng: np.random.Generator, secs: float) -> Audio:
    """DTMF, some keys of 60 to 300 ms."""
    chosen = list(KEYS.values())

    def key() -> Samples:
        return _tones(chosen[rng.integers(len(chosen))], rng.uniform(0.06, 0.3))

    return _bursts(rng, secs, (0.05, 0.4), key)


def ringing(rng: np.random.Generator, secs: float) -> Audio:
    """Ring-back tone of one of five countries."""
    return _cadence(list(RINGING.values())[rng.integers(len(RINGING))], secs)


def busy(rng: np.random.Generator, secs: float) -> Audio:
    """Busy or congestion tone of one of five networks."""
    return _cadence(list(BUSY.values())[rng.integers(len(BUSY))], secs)


def beep(rng: np.random.Generator, secs: float) -> Audio:
    """The beep of a voicemail."""
    return _audio(_tones((float(rng.choice([440, 850, 1000, 1400])),), secs))


def fax(rng: np.random.Generator, secs: float) -> Audio:
    """A calling fax: CNG; or one that answers: CED, then V.21."""
    if rng.random() < 0.5:
        return _cadence(((1100,), (0.5, 3.0)), secs)
    bits = rng.integers(0, 2, max(1, round(max(0.0, secs - 2.6) * 300)))
    phase = np.cumsum(np.repeat(np.where(bits, 1650, 1850), RATE // 300 + 1)) * 2 * np.pi / RATE
    quiet = np.zeros(round(0.075 * RATE))
    return _audio(_as_long(np.concatenate([_tones((2100,), 2.6), quiet, np.sin(phase)]), secs))


def modem(rng: np.random.Generator, secs: float) -> Audio:
    """Training of a modem: a carrier, then symbols that sound like noise."""
    symbols = np.exp(2j * np.pi * rng.integers(0, 4, round(secs * 2400) + 1) / 4)
    time = _time(secs)
    held = symbols[(time * 2400).astype(int)]
    signal = np.real(held * np.exp(2j * np.pi * 1800 * time))
    signal[: round(0.2 * RATE)] = np.sin(2 * np.pi * 1800 * time[: round(0.2 * RATE)])
    return _audio(_band(signal, 500, 3100))


def comfort_noise(rng: np.random.Generator, secs: float) -> Audio:
    """Noise of a line without a speaker, at -50 to -42 dBov."""
    noise = _band(rng.standard_normal(round(secs * RATE)), 200, 2500)
    return _audio(noise, float(rng.uniform(-50, -42)))


# -- people without words ------------------------------------------------------------------------


def cough(rng: np.random.Generator, secs: float) -> Audio:
    """Coughs: bursts of noise that die away within 0.3 s, two or three together."""

    def one() -> Samples:
        time = _time(rng.uniform(0.2, 0.4))
        noise = _band(rng.standard_normal(len(time)), 300, 2500)
        return noise * np.exp(-time / rng.uniform(0.05, 0.12)) * np.minimum(1, time / 0.01)

    return _bursts(rng, secs, (0.1, 1.2), one)


def laughter(rng: np.random.Generator, secs: float) -> Audio:
    """Voiced bursts five times a second, falling in pitch."""
    out = np.zeros(round(secs * RATE))
    pitch = rng.uniform(180, 350)
    for number, at in enumerate(np.arange(0.05, secs - 0.15, rng.uniform(0.18, 0.24))):
        time = _time(0.12)
        f0 = pitch * (1 - 0.03 * (number % 8)) * (1 - 0.8 * time)
        phase = np.cumsum(f0) * 2 * np.pi / RATE
        voiced = np.sum([np.sin(k * phase) / k for k in range(1, 11)], axis=0)
        breath = 0.3 * _band(rng.standard_normal(len(time)), 500, 3000)
        first = round(at * RATE)
        out[first : first + len(time)] += (voiced + breath) * np.sin(np.pi * time / 0.12)
    return _audio(out)


def clicks(rng: np.random.Generator, secs: float) -> Audio:
    """A keyboard: clicks of a few milliseconds, down and up."""

    def click() -> Samples:
        time = _time(0.08)
        down = rng.standard_normal(len(time)) * np.exp(-time / 0.003)
        up = np.roll(down, round(rng.uniform(0.04, 0.07) * RATE)) * 0.4
        return _band(down + up, 800, 3600)

    return _bursts(rng, secs, (0.03, 0.3), click)


# -- made of voices ------------------------------------------------------------------------------


def _some(phrases: Sequence[Phrase], rng: np.random.Generator, secs: float) -> Samples:
    """Phrases drawn at random; begins with the first of one and ends with the last of another.

    Who answers a caller waits from the caller's last sound on.
    """
    pieces: list[Samples] = []
    while sum(map(len, pieces)) < secs * RATE:
        pieces.append(trimmed(phrases[rng.integers(len(phrases))]).astype(np.float64))
    whole, size = np.concatenate(pieces), round(secs * RATE)
    fade = min(FADE, size // 2)
    rising = np.linspace(0, 1, fade)
    first, last = whole[: size // 2 + fade].copy(), whole[len(whole) - (size - size // 2) :].copy()
    first[size // 2 :] *= 1 - rising
    last[:fade] = last[:fade] * rising + first[size // 2 :]
    return np.concatenate([first[: size // 2], last])


def music(songs: Sequence[Phrase], rng: np.random.Generator, secs: float) -> Audio:
    """Hold music, from anywhere in a piece."""
    song = songs[rng.integers(len(songs))].audio()
    at = rng.uniform(0, max(0.0, song.duration - secs))
    return _audio(_as_long(song.span(at, at + secs).samples.astype(np.float64), secs))


def babble(voices: Sequence[Phrase], rng: np.random.Generator, secs: float) -> Audio:
    """Six to ten people who speak at once."""
    return _audio(np.sum([_some(voices, rng, secs) for _ in range(rng.integers(6, 11))], axis=0))


def television(
    voices: Sequence[Phrase], songs: list[Phrase], rng: np.random.Generator, secs: float
) -> Audio:
    """A speaker over music, some way off: nothing low, a little reverberation, -38 dBov."""
    sound = _some(voices, rng, secs) + 0.5 * music(songs, rng, secs).samples
    time = _time(0.2)
    room = rng.standard_normal(len(time)) * np.exp(-time / 0.04) * 0.15
    room[0] = 1.0
    return _audio(_band(np.convolve(sound, room)[: len(sound)], 350, 3000), -38.0)


def whisper(voices: Sequence[Phrase], rng: np.random.Generator, secs: float) -> Audio:
    """A voice whose source is noise: linear prediction of order 10 in frames of 20 ms."""
    return _audio(_whispered(_some(voices, rng, secs), rng), -30.0)


def _whispered(voice: Samples, rng: np.random.Generator, size: int = 160) -> Samples:
    frames = voice[: len(voice) // size * size].reshape(-1, size)
    out, state = [], np.zeros(10)
    for frame in frames:
        windowed = frame * np.hanning(size)
        r = np.correlate(windowed, windowed, "full")[size - 1 : size + 10]
        r[0] = r[0] * 1.001 + 1e-9
        toeplitz = r[np.abs(np.subtract.outer(np.arange(10), np.arange(10)))]
        filtered = np.r_[1.0, -np.linalg.solve(toeplitz, r[1:])]
        residual = float(np.sqrt(max(filtered @ r, 0.0) / size))
        noise = rng.standard_normal(size) * residual
        made, state = lfilter([1.0], filtered, noise, zi=state)
        out.append(made)
    return np.concatenate(out)


def gsm(voices: Sequence[Phrase], rng: np.random.Generator, secs: float) -> Audio:
    """A mobile phone at the edge of its cell: full-rate GSM, bursts of frames lost and concealed."""
    voice = Audio(_some(voices, rng, secs).astype(np.float32), RATE)
    coded = io.BytesIO()
    soundfile.write(coded, voice.samples, RATE, format="WAV", subtype="GSM610")
    decoded = soundfile.read(io.BytesIO(coded.getvalue()))[0][: len(voice)]
    lost, at = np.zeros(len(decoded) // 160 + 1, bool), 0
    while at < len(lost):
        at += int(rng.geometric(0.02))
        length = int(rng.integers(1, 5))
        lost[at : at + length] = True
        at += length
    return _audio(_concealed(decoded, lost))


def _concealed(samples: Samples, lost: NDArray[np.bool_], size: int = 160) -> Samples:
    """Lost frames repeat the last good one, each 6 dB quieter."""
    out, last, gain = samples.copy(), np.zeros(size), 1.0
    for number, gone in enumerate(lost[: len(samples) // size]):
        part = slice(number * size, (number + 1) * size)
        if gone:
            gain /= 2
            out[part] = last * gain
        else:
            last, gain = out[part].copy(), 1.0
    return out


def gain_control(voices: Sequence[Phrase], rng: np.random.Generator, secs: float) -> Audio:
    """A voice from near and far, levelled by an automatic gain that brings the noise up in pauses."""
    voice = _some(voices, rng, secs)
    voice *= 10 ** (np.interp(_time(secs), np.linspace(0, secs, 5), rng.uniform(-20, 0, 5)) / 20)
    voice += rng.standard_normal(len(voice)) * 10 ** (-62 / 20)
    power = lfilter([1 / (0.3 * RATE)], [1, -(1 - 1 / (0.3 * RATE))], voice**2)
    gain = np.clip(10 ** (-23 / 20) / np.sqrt(power + 1e-9), 0.3, 12.0)
    return Audio(np.clip(voice * gain, -0.98, 0.98).astype(np.float32), RATE)


# -- all of them ---------------------------------------------------------------------------------


#: Those that are made of nothing recorded.
MADE: dict[str, Sound] = {
    sound.__name__: sound
    for sound in (keys, ringing, busy, beep, fax, modem, comfort_noise, cough, laughter, clicks)
}


@cache
def callers(half: Half) -> dict[str, Sound]:
    """Every sound, those of voices and music made of one half."""
    voices, songs = catalogue(half, "voice"), catalogue(half, "music")
    of_voices = (babble, whisper, gsm, gain_control)
    return {
        **MADE,
        **{sound.__name__: partial(sound, voices) for sound in of_voices},
        "music": partial(music, songs),
        "television": partial(television, voices, songs),
    }

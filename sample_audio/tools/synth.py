"""Synthetic signals (no third-party audio): tones, noise, hold music. numpy only, seeded."""

import numpy as np


def tone(freqs, dur, sr, dbov=-12.0):
    t = np.arange(int(round(dur * sr))) / sr
    x = sum(np.sin(2 * np.pi * f * t) for f in freqs) / len(freqs)
    return (10 ** (dbov / 20) * np.sqrt(2) * x / np.sqrt(2 * np.mean(x**2) + 1e-20) * 1.0).astype(
        np.float32
    )


def cadence(freqs, pattern, repeats, sr, dbov=-19.0):
    out = []
    for _ in range(repeats):
        for on, off in pattern:
            x = tone(freqs, on, sr, dbov)
            n = int(0.005 * sr)
            x[:n] *= np.linspace(0, 1, n)
            x[-n:] *= np.linspace(1, 0, n)
            out += [x, np.zeros(int(off * sr), np.float32)]
    return np.concatenate(out)


DTMF = {
    k: (r, c)
    for r, row in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=False)
    for c, k in zip((1209, 1336, 1477, 1633), row, strict=False)
}


def dtmf(digits, sr, on=0.1, off=0.1, dbov=-13.0):
    return np.concatenate([cadence(DTMF[d], [(on, off)], 1, sr, dbov) for d in digits])


def ringback(sr, n=2):
    return cadence((440, 480), [(2.0, 4.0)], n, sr)


def busy(sr, n=6):
    return cadence((480, 620), [(0.5, 0.5)], n, sr, -24)


def milliwatt(sr, dur=5.0):
    """1004 Hz at 0 dBm0: -3.14 dB below mu-law overload (T_max = +3.17 dBm0 for mu-law)."""
    return tone((1004,), dur, sr, dbov=-3.17 - 3.01)


def noise(dur, sr, dbov=-50.0, colour="pink", seed=1):
    r = np.random.default_rng(seed)
    n = int(round(dur * sr))
    X = np.fft.rfft(r.standard_normal(n))
    f = np.fft.rfftfreq(n, 1 / sr)
    f[0] = f[1]
    X *= {"white": np.ones_like(f), "pink": f**-0.5, "brown": f**-1.0}[colour]
    if colour != "white":
        X[f < 40] = 0
    x = np.fft.irfft(X, n)
    return (x / np.sqrt(np.mean(x**2)) * 10 ** (dbov / 20)).astype(np.float32)


def sweep(dur, sr, f0=50.0, f1=None, dbov=-12.0):
    f1 = f1 or sr * 0.48
    t = np.arange(int(dur * sr)) / sr
    k = np.log(f1 / f0)
    return (
        10 ** (dbov / 20) * np.sin(2 * np.pi * f0 * dur / k * (np.exp(t / dur * k) - 1))
    ).astype(np.float32)


def mulaw_ramp_bytes():
    """All 256 mu-law codes, one 20 ms frame each half: for codec round-trip tests."""
    return bytes(range(256)) + bytes(range(255, -1, -1))


def _pluck(freq, dur, sr, rng, damp=0.996):
    n = int(sr / freq)
    buf = rng.uniform(-1, 1, n)
    out = np.empty(int(dur * sr))
    for i in range(0, len(out), n):
        m = min(n, len(out) - i)
        out[i : i + m] = buf[:m]
        buf = damp * 0.5 * (buf + np.roll(buf, 1))
    return out


def hold_music(dur=10.0, sr=24000, dbov=-22.0, seed=7):
    """Original arpeggio (Karplus-Strong), I-vi-IV-V in D, 96 bpm: broadband, dynamic, copyright-free."""
    rng = np.random.default_rng(seed)
    step = 60 / 96 / 2
    chords = [(62, 66, 69, 74), (59, 62, 66, 71), (55, 59, 62, 67), (57, 61, 64, 69)]
    pat = (0, 2, 1, 3, 2, 1, 3, 2)
    out = np.zeros(int((dur + 3) * sr))
    k = 0
    while k * step < dur:
        ch = chords[(k // 8) % 4]
        notes = [ch[pat[k % 8]]] + ([ch[0] - 12] if k % 4 == 0 else [])
        for m in notes:
            x = _pluck(440 * 2 ** ((m - 69) / 12), 1.8, sr, rng)
            s = int(k * step * sr)
            out[s : s + len(x)] += x[: len(out) - s]
        k += 1
    out = out[: int(dur * sr)]
    n = int(0.4 * sr)
    out[-n:] *= np.linspace(1, 0, n)
    out[: n // 20] *= np.linspace(0, 1, n // 20)
    return (out / np.sqrt(np.mean(out**2)) * 10 ** (dbov / 20)).astype(np.float32)

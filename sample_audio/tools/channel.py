"""Telephone channel: band-pass, optional GSM-FR (libsndfile), noise, mu-law. numpy/scipy/soundfile only."""

import io

import numpy as np
import soundfile as sf
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt


def to_8k(x, sr):
    from math import gcd

    g = gcd(8000, sr)
    return resample_poly(x, 8000 // g, sr // g, window=("kaiser", 9.0)).astype(np.float32)


def bandpass(x, lo=250, hi=3500, sr=8000):
    return sosfilt(butter(4, [lo, hi], "bandpass", fs=sr, output="sos"), x).astype(np.float32)


def gsm(x):
    """Real GSM 06.10 full-rate round trip through libsndfile's WAV GSM610."""
    n = len(x)
    pad = (-n) % 320
    b = io.BytesIO()
    sf.write(b, np.clip(np.pad(x, (0, pad)), -1, 0.9999), 8000, format="WAV", subtype="GSM610")
    b.seek(0)
    y, _ = sf.read(b, dtype="float32")
    return y[:n] if len(y) >= n else np.pad(y, (0, n - len(y)))


def room(seed=3, rt60=0.25, sr=8000, direct=1.0, tail=0.35):
    r = np.random.default_rng(seed)
    n = int(rt60 * sr)
    h = r.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    h[: int(0.004 * sr)] = 0
    h *= tail / np.sqrt(np.sum(h**2))
    h[0] = direct
    return h.astype(np.float32)


def echo(far8k, delay_ms=240, loss_db=18, seed=5):
    h = room(seed, 0.15, direct=0.8, tail=0.6)
    y = fftconvolve(bandpass(np.tanh(2 * far8k) / 2, 350, 3000), h)[: len(far8k)] * 10 ** (
        -loss_db / 20
    )
    d = int(delay_ms * 8)
    return np.concatenate([np.zeros(d, np.float32), y[: len(y) - d]]).astype(np.float32)


def write_ulaw(path, x):
    sf.write(path, np.clip(x, -1, 0.99997), 8000, subtype="ULAW", format="WAV")

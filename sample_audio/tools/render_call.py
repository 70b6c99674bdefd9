"""Render call/script.json to the two directions a capture would hold. Deterministic; numpy/scipy/soundfile only.

python render_call.py [AUDIO_DIR] [OUT_DIR]
"""

import json
import os
import sys

import numpy as np
import soundfile as sf

sys.path.insert(0, os.path.dirname(__file__))
import channel as ch  # noqa: E402
import synth  # noqa: E402


def render(root):
    s = json.load(open(f"{root}/call/script.json"))
    T, P = s["duration"], s["channel"]
    n8, n24 = int(round(T * 8000)), int(round(T * 24000))
    out, clean = np.zeros(n24, np.float32), np.zeros(n8, np.float32)
    speaker = next(e for e in s["events"] if e["type"] == "echo")
    for t in s["turns"]:
        x, sr = sf.read(f"{root}/{t['file']}", dtype="float32")
        if t["side"] == "bot":
            y = x[: int(round((t["end"] - t["start"]) * sr))].copy()
            if len(y) < len(x):
                y[-240:] *= np.linspace(1, 0, 240, dtype=np.float32)
            i = int(round(t["start"] * 24000))
            out[i : i + len(y)] += y[: n24 - i]
        else:
            y = ch.to_8k(x, sr)
            if t["start"] >= speaker["start"]:
                y = ch.fftconvolve(y, ch.room(9, 0.3, direct=0.6, tail=0.6))[
                    : len(y) + 1600
                ].astype(np.float32)
            i = int(round(t["start"] * 8000))
            clean[i : i + len(y)] += y[: n8 - i]
    far = ch.to_8k(out, 24000)
    far = np.pad(far, (0, max(0, n8 - len(far))))[:n8]
    mic = clean * P["mic_gain"] + synth.noise(T, 8000, P["noise_dbov"], "pink", 21)[:n8]
    for e in s["events"]:
        if e["type"] == "echo":
            m = np.zeros(n8, np.float32)
            m[int(e["start"] * 8000) : int(e["end"] * 8000)] = 1
            mic += ch.echo(far, e["delay_ms"], e["echo_return_loss_db"]) * m
        elif e["type"] == "noise_burst":
            a, b = int(e["start"] * 8000), int(e["end"] * 8000)
            w = np.zeros(n8, np.float32)
            w[a:b] = np.hanning(b - a)
            mic += synth.noise(T, 8000, e["dbov"], "pink", 22)[:n8] * w
    y = ch.gsm(ch.bandpass(mic, *P["band_hz"]))
    for e in s["events"]:
        if e["type"] == "clipping":
            a, b = int(e["start"] * 8000), int(e["end"] * 8000)
            y[a:b] *= 10 ** (e["gain_db"] / 20)
    return np.clip(y, -0.98, 0.98), out


if __name__ == "__main__":
    root = (
        sys.argv[1]
        if len(sys.argv) > 1
        else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    )
    dst = sys.argv[2] if len(sys.argv) > 2 else f"{root}/rendered"
    os.makedirs(dst, exist_ok=True)
    inbound, outbound = render(root)
    ch.write_ulaw(f"{dst}/call_inbound_8k_ulaw.wav", inbound)
    sf.write(f"{dst}/call_outbound_24k.flac", outbound, 24000, subtype="PCM_16")

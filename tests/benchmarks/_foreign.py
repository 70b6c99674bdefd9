"""Voices that the project did not choose, wide and narrow, natural and made, to calibrate on.

They are Debian's: prompts, and what synthesisers of its packages say. Whole speakers belong to one
half or the other: on ``"fit"`` figures are fitted, on ``"judge"`` they are judged once.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from tests.ground import voices
from workbench.audio import Audio

#: Where what synthesisers say is kept.
MADE: Final = voices.ROOT / ".bench" / "calibration"

#: Each call that is made of a speaker's phrases is about so long, in seconds.
CALL_SECS: Final = 9.0
CALLS: Final = 2

#: Of a voice with less than that, this much is enough to be judged.
_LEAST_SECS: Final = 3.0

Half = Literal["fit", "judge"]
Form = Literal["wide", "narrow", "narrow24", "faint"]

_FESTIVAL = (
    "festvox-italp16k", "festvox-itapc16k", "festvox-czech-dita", "festvox-czech-machac",
    "festvox-czech-ph", "festvox-suopuhe-lj", "festvox-suopuhe-mv", "festvox-ru",
    "festvox-ca-ona-hts", "festvox-hi-nsk", "festvox-us-slt-hts", "festvox-kallpc16k",
    "festvox-kdlpc16k",
)  # fmt: skip
PACKAGES: Final = (
    *voices.PACKAGES,
    *(f"asterisk-core-sounds-{language}-g722" for language in ("en", "es", "fr", "it", "ru")),
    "asterisk-prompt-fr-armelle", "asterisk-prompt-es-co", "festival", *_FESTIVAL,
    "libopencore-amrnb0", "libopencore-amrwb0", "libvo-amrwbenc0",
)  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """One voice.

    Parameters:
        name: What it is known by.
        language: ISO 639-1.
        sex: ``"f"`` or ``"m"``.
        kind: ``"natural"``, ``"units"`` (of a recorded voice), ``"model"`` or ``"formant"``.
        wide: Whether it reaches beyond the telephone band.
        half: Which it belongs to.
        source: A folder and a pattern of files, or a synthesiser and its voice.
    """

    name: str
    language: str
    sex: str
    kind: str
    wide: bool
    half: Half
    source: tuple[str, str]


_SOUNDS = "/usr/share/asterisk/sounds/"
_CODEC2 = "/usr/share/codec2/wav/"
_SPHINX = "/usr/share/pocketsphinx/test/data/"

#: Every second speaker of each kind, language and sex is judged.
SPEAKERS: Final = (
    Speaker("Allison-en", "en", "f", "natural", True, "fit", (_SOUNDS + "en_US_f_Allison", "**/*.g722")),
    Speaker("Allison-es", "es", "f", "natural", True, "fit", (_SOUNDS + "es_MX_f_Allison", "**/*.g722")),
    Speaker("June", "fr", "f", "natural", True, "judge", (_SOUNDS + "fr_CA_f_June", "**/*.g722")),
    Speaker("Carlo", "it", "m", "natural", True, "judge", (_SOUNDS + "it_IT_m_Carlo", "**/*.g722")),
    Speaker("Ivrvoice", "ru", "f", "natural", True, "judge", (_SOUNDS + "ru_RU_f_IvrvoiceRU", "**/*.g722")),
    Speaker("Cards", "en", "m", "natural", True, "fit", (_SPHINX + "cards", "*.wav")),
    Speaker("Austen", "en", "f", "natural", True, "judge", (_SPHINX + "librivox", "*.wav")),
    Speaker("Paola", "it", "f", "natural", False, "fit", (_SOUNDS + "it_IT_f_Menardi", "**/*.wav")),
    Speaker("Armelle", "fr", "f", "natural", False, "judge", (_SOUNDS + "fr", "**/*.gsm")),
    Speaker("Colombia", "es", "m", "natural", False, "fit", (_SOUNDS + "es", "**/*.gsm")),
    *(
        Speaker(f"Codec2-{name}", "en", sex, "natural", False, half, (_CODEC2, f"{name}.wav"))
        for name, sex, half in (
            ("mmt1", "m", "judge"), ("vk5qi", "m", "fit"),
        )
    ),
    *(
        Speaker(f"festival-{voice}", language, sex, kind, True, half, ("festival", voice))
        for voice, language, sex, kind, half in (
            ("lp_diphone", "it", "f", "units", "fit"),
            ("pc_diphone", "it", "m", "units", "judge"),
            ("czech_dita", "cs", "f", "units", "judge"),
            ("czech_machac", "cs", "m", "units", "fit"),
            ("czech_ph", "cs", "m", "units", "judge"),
            ("suo_fi_lj_diphone", "fi", "f", "units", "fit"),
            ("hy_fi_mv_diphone", "fi", "m", "units", "judge"),
            ("msu_ru_nsh_clunits", "ru", "m", "units", "fit"),
            ("upc_ca_ona_hts", "ca", "f", "model", "judge"),
            ("cmu_us_slt_arctic_hts", "en", "f", "model", "fit"),
            ("kal_diphone", "en", "m", "units", "judge"),
            ("ked_diphone", "en", "m", "units", "fit"),
        )
    ),
    *(
        Speaker(f"flite-{voice}", "en", sex, "units", voice != "kal", half, ("flite", voice))
        for voice, sex, half in (
            ("awb", "m", "judge"), ("rms", "m", "fit"), ("kal", "m", "fit"), ("slt", "f", "judge"),
        )
    ),
    *(
        Speaker(f"espeak-{language}-{sex}", language, sex, "formant", True, half, ("espeak-ng", f"{language}+{sex}{number}"))
        for language, sex, number, half in (
            ("de", "m", 3, "fit"), ("de", "f", 2, "judge"), ("pl", "m", 3, "judge"),
            ("pl", "f", 2, "fit"), ("pt", "m", 3, "fit"), ("sv", "f", 2, "judge"),
        )
    ),
)  # fmt: skip

#: What festival says, beside the sentences of :data:`tests.ground.voices.SENTENCES`; and how its
#: voices have it written.
_SENTENCES: Final = {
    **voices.SENTENCES,
    "it": (
        "Buongiorno, vorrei cambiare il mio appuntamento.",
        "Il numero è quattro, sette, uno, nove.",
        "No, era la settimana scorsa, giovedì sera.",
        "Può ripetere, per favore?",
        "Ho ordinato due scatole, ma finora ne è arrivata solo una.",
    ),
    "cs": (
        "Dobrý den, chtěl bych změnit termín schůzky.",
        "Číslo je čtyři, sedm, jedna, devět.",
        "Ne, to bylo minulý týden ve čtvrtek večer.",
        "Můžete to zopakovat, prosím?",
        "Děkuji mnohokrát, na shledanou.",
    ),
    "fi": (
        "Hyvää päivää, haluaisin siirtää aikani.",
        "Numero on neljä, seitsemän, yksi, yhdeksän.",
        "Ei, se oli viime viikolla torstaina illalla.",
        "Voisitteko toistaa sen?",
        "Kiitos paljon, kuulemiin.",
    ),
    "ru": (
        "Здравствуйте, я хочу перенести встречу.",
        "Номер четыре, семь, один, девять.",
        "Нет, это было на прошлой неделе, в четверг.",
        "Повторите, пожалуйста.",
        "Спасибо большое, до свидания.",
    ),
    "ca": (
        "Bon dia, voldria canviar la meva cita.",
        "El número és quatre, set, u, nou.",
        "No, va ser la setmana passada, dijous al vespre.",
        "Ho pot repetir, si us plau?",
        "Moltes gràcies, adéu.",
    ),
}
_WRITTEN: Final = {"cs": "iso-8859-2", "ru": "utf-8"}


def install() -> None:
    """Install the packages as root on Debian; elsewhere say what is missing, and leave."""
    voices.install(PACKAGES)


def calls(speaker: Speaker, count: int = CALLS) -> list[Audio]:
    """Phrases of a speaker one behind the other, so many of them that each call is long enough.

    Returns:
        At 16 kHz or, where the voice is narrow, 8 kHz; as loud as a bot speaks. Fewer, or none, if
        there is not enough of the voice.
    """
    rate = 16000 if speaker.wide else 8000
    made: list[Audio] = []
    parts: list[np.ndarray] = []
    for phrase in _phrases(speaker):
        parts += [phrase.resampled(rate).samples, np.zeros(rate // 5, np.float32)]
        if sum(map(len, parts)) >= CALL_SECS * rate:
            made.append(voices.levelled(Audio(np.concatenate(parts), rate)))
            parts = []
        if len(made) == count:
            return made
    if not made and sum(map(len, parts)) >= _LEAST_SECS * rate:
        made.append(voices.levelled(Audio(np.concatenate(parts), rate)))
    return made


def formed(call: Audio, form: Form) -> Audio:
    """A call as a pipeline has it: at 24 kHz; at 8 kHz; at 24 kHz but narrow before; 20 dB down."""
    if form == "narrow":
        return call.resampled(8000)
    if form == "narrow24":
        return call.resampled(8000).resampled(24000)
    wide = call.resampled(24000)
    return Audio(wide.samples * np.float32(0.1), 24000) if form == "faint" else wide


def forms(speaker: Speaker) -> Sequence[Form]:
    """Which there are of a voice: of synthesis, less."""
    if not speaker.wide:
        return ("narrow", "narrow24")
    return (
        ("wide", "narrow", "narrow24", "faint") if speaker.kind == "natural" else ("wide", "narrow")
    )


def _phrases(speaker: Speaker) -> Iterator[Audio]:
    tool, which = speaker.source
    if tool in ("festival", "flite", "espeak-ng"):
        texts = _SENTENCES[speaker.language]
        for number, text in enumerate(texts * 2):
            path = MADE / speaker.name / f"{number % len(texts)}.wav"
            if path.exists() or _said(tool, which, speaker.language, text, path):
                yield Audio.read(path)
        return
    files = [p for p in sorted(Path(tool).glob(which)) if "silence" not in p.parts]
    # Not one behind the other, as they are sorted by subject: each package's own order, shuffled.
    order = np.random.default_rng(0).permutation(len(files))
    for index in order:
        phrase = _read(files[index])
        if phrase.duration > 1.2 or len(files) < 9:
            yield phrase


def _read(path: Path) -> Audio:
    """A prompt; G.722 and GSM have no header."""
    if path.suffix == ".g722":
        from G722 import G722

        pcm = np.asarray(G722(16000, 64000).decode(path.read_bytes()), dtype="<i2")
        return Audio.from_pcm(pcm.tobytes(), 16000)
    if path.suffix == ".gsm":
        import soundfile

        samples, _ = soundfile.read(
            str(path), dtype="float32", samplerate=8000, channels=1, format="RAW", subtype="GSM610"
        )
        return Audio(samples, 8000)
    return Audio.read(path)


def _said(tool: str, voice: str, language: str, text: str, path: Path) -> bool:
    """Let a synthesiser say it; false where there is none."""
    command, given = {
        "festival": (["text2wave", "-eval", f"(voice_{voice})", "-o", str(path)], text),
        "flite": (["flite", "-voice", voice, "-o", str(path), "-t", text], ""),
        "espeak-ng": (["espeak-ng", "-v", voice, "-w", str(path), text], ""),
    }[tool]
    if shutil.which(command[0]) is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    written = _WRITTEN.get(language, "iso-8859-1")
    subprocess.run(command, input=given.encode(written, "replace"), check=True, capture_output=True)
    return path.exists() and path.stat().st_size > 1000

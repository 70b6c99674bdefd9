"""Voices that the project did not choose, wide and narrow, natural and made, to calibrate on.

On the voices of one half, ``"fit"``, figures are fitted; on those of the other, ``"judge"``, they are
judged, once. The former are prompts that Debian packages, what its synthesisers say, and people of a
folder of recordings (:mod:`tests.ground.people`, the work half). The latter are people of the measured
half, and synthesisers of other speakers and languages. What was judged on goes over to ``"fit"``, and
others take its place. While a measure is worked on, it is checked on further people of the work half,
``"check"``.

Of the people some are drawn, by a fixed seed: by turns people and machines, and of each all
languages by turns. The folders are named for it, ``corpus-language-speaker``; see :data:`MACHINES`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final, Literal

import numpy as np

from tests.ground import voices
from workbench.audio import Audio
from workbench.metrics.spectra import effective_bandwidth
from workbench.tuning.measured_leg import WIDE_HZ

#: Where what synthesisers say is kept.
MADE: Final = voices.ROOT / ".bench" / "calibration"


#: Of a voice with less than that, this much is enough to be judged.
_LEAST_SECS: Final = 3.0

#: So many of the people are fitted on, as many checked on, and as many judged on.
_DRAWN: Final = 24

#: Corpora of what neural synthesisers say.
MACHINES: Final = ("confianza", "edgetx", "made", "mimic3", "tortoise")

Half = Literal["fit", "check", "judge"]
Form = Literal["wide", "narrow", "narrow24", "faint"]

_FESTIVAL = (
    "festvox-italp16k", "festvox-itapc16k", "festvox-czech-dita", "festvox-czech-machac",
    "festvox-czech-ph", "festvox-suopuhe-lj", "festvox-suopuhe-mv", "festvox-ru",
    "festvox-ca-ona-hts", "festvox-us-slt-hts", "festvox-kallpc16k", "festvox-kdlpc16k",
    "festvox-czech-krb", "festvox-hi-nsk", "festival-hi",
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
        language: ISO 639-1; empty of people, of whom nobody told.
        sex: ``"f"`` or ``"m"``; empty likewise.
        kind: ``"natural"``, ``"units"`` (of a recorded voice), ``"model"``, ``"formant"``, or
            ``"people"``, some of which may be a machine's.
        wide: Whether it reaches beyond the telephone band.
        source: A folder and a pattern of files, or a synthesiser and its voice.
        half: Which it belongs to.
    """

    name: str
    language: str
    sex: str
    kind: str
    wide: bool
    source: tuple[str, str]
    half: Half = "fit"


_SOUNDS = "/usr/share/asterisk/sounds/"
_CODEC2 = "/usr/share/codec2/wav/"
_SPHINX = "/usr/share/pocketsphinx/test/data/"

#: Fitted on.
_FITTED: Final = (
    Speaker("Allison-en", "en", "f", "natural", True, (_SOUNDS + "en_US_f_Allison", "**/*.g722")),
    Speaker("Allison-es", "es", "f", "natural", True, (_SOUNDS + "es_MX_f_Allison", "**/*.g722")),
    Speaker("June", "fr", "f", "natural", True, (_SOUNDS + "fr_CA_f_June", "**/*.g722")),
    Speaker("Carlo", "it", "m", "natural", True, (_SOUNDS + "it_IT_m_Carlo", "**/*.g722")),
    Speaker("Ivrvoice", "ru", "f", "natural", True, (_SOUNDS + "ru_RU_f_IvrvoiceRU", "**/*.g722")),
    Speaker("Cards", "en", "m", "natural", True, (_SPHINX + "cards", "*.wav")),
    Speaker("Austen", "en", "f", "natural", True, (_SPHINX + "librivox", "*.wav")),
    Speaker("Paola", "it", "f", "natural", False, (_SOUNDS + "it_IT_f_Menardi", "**/*.wav")),
    Speaker("Armelle", "fr", "f", "natural", False, (_SOUNDS + "fr", "**/*.gsm")),
    Speaker("Colombia", "es", "m", "natural", False, (_SOUNDS + "es", "**/*.gsm")),
    Speaker("Codec2-mmt1", "en", "m", "natural", False, (_CODEC2, "mmt1.wav")),
    Speaker("Codec2-vk5qi", "en", "m", "natural", False, (_CODEC2, "vk5qi.wav")),
    *(
        Speaker(f"festival-{voice}", language, sex, kind, True, ("festival", voice))
        for voice, language, sex, kind in (
            ("lp_diphone", "it", "f", "units"), ("pc_diphone", "it", "m", "units"),
            ("czech_dita", "cs", "f", "units"), ("czech_machac", "cs", "m", "units"),
            ("czech_ph", "cs", "m", "units"), ("suo_fi_lj_diphone", "fi", "f", "units"),
            ("hy_fi_mv_diphone", "fi", "m", "units"), ("msu_ru_nsh_clunits", "ru", "m", "units"),
            ("upc_ca_ona_hts", "ca", "f", "model"), ("cmu_us_slt_arctic_hts", "en", "f", "model"),
            ("kal_diphone", "en", "m", "units"), ("ked_diphone", "en", "m", "units"),
        )
    ),
    *(
        Speaker(f"flite-{voice}", "en", sex, "units", voice != "kal", ("flite", voice))
        for voice, sex in (("awb", "m"), ("rms", "m"), ("kal", "m"), ("slt", "f"))
    ),
    *(
        Speaker(f"espeak-{language}-{sex}", language, sex, "formant", True, ("espeak-ng", f"{language}+{sex}{number}"))
        for language, sex, number in (
            ("de", "m", 3), ("de", "f", 2), ("pl", "m", 3), ("pl", "f", 2), ("pt", "m", 3), ("sv", "f", 2),
        )
    ),
)  # fmt: skip

#: Judged on, beside people.
_JUDGED: Final = (
    Speaker("festival-NSK", "hi", "m", "units", True, ("festival", "hindi_NSK_diphone"), "judge"),
    Speaker("festival-krb", "cs", "f", "units", True, ("festival", "czech_krb"), "judge"),
    *(
        Speaker(f"espeak-{language}-{sex}", language, sex, "formant", True, ("espeak-ng", f"{language}+{sex}{number}"), "judge")
        for language, sex, number in (("da", "f", 4), ("id", "m", 7), ("sw", "f", 5), ("tr", "m", 1))
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
    "hi": (
        "नमस्ते, मैं अपना समय बदलना चाहता हूँ।",
        "नंबर है चार, सात, एक, नौ।",
        "नहीं, वह पिछले हफ़्ते गुरुवार की शाम को था।",
        "क्या आप इसे दोहरा सकते हैं?",
        "बहुत धन्यवाद, नमस्कार।",
    ),
    "ca": (
        "Bon dia, voldria canviar la meva cita.",
        "El número és quatre, set, u, nou.",
        "No, va ser la setmana passada, dijous al vespre.",
        "Ho pot repetir, si us plau?",
        "Moltes gràcies, adéu.",
    ),
}
_WRITTEN: Final = {"cs": "iso-8859-2", "ru": "utf-8", "hi": "utf-8"}


@cache
def speakers(half: Half) -> tuple[Speaker, ...]:
    """The voices of one half: all, with some of the people that were gathered for it."""
    if half == "fit":
        return (*_FITTED, *_people("work", half))
    if half == "check":
        return _people("work", half, after=_DRAWN)
    return (*_JUDGED, *_people("measured", half))


def _people(folder: voices.Half, half: Half, after: int = 0) -> tuple[Speaker, ...]:
    """Some of those who say enough, after so many others."""
    people: list[Speaker] = []
    gathered = (voices.PEOPLE / folder).glob("*")
    for path in drawn(sorted(path for path in gathered if path.name != "music")):
        speaker = Speaker(path.name, "", "", "people", True, (str(path), "*.flac"), half)
        call = call_of(speaker, _LEAST_SECS)
        if call is not None:
            people.append(replace(speaker, wide=effective_bandwidth(call) > WIDE_HZ))
        if len(people) == after + _DRAWN:
            break
    # By name, else kinds and forms would go in step.
    return tuple(sorted(people[after:], key=lambda one: one.name))


def drawn(folders: Sequence[Path]) -> Iterator[Path]:
    """All of them, in an order of which any beginning is balanced."""
    rng = np.random.default_rng(0)
    groups: dict[bool, dict[str, list[Path]]] = {False: defaultdict(list), True: defaultdict(list)}
    for index in rng.permutation(len(folders)):
        name = folders[index].name
        corpus, language, *_ = [*name.split("-" if "-" in name else "_"), ""]
        groups[corpus in MACHINES][language[:2]].append(folders[index])
    kinds = [list(_by_turns(list(languages.values()))) for languages in groups.values()]
    yield from _by_turns(kinds)


def _by_turns(groups: Sequence[Sequence[Path]]) -> Iterator[Path]:
    """The first of each, the second of each, and so on."""
    for row in zip_longest(*groups):
        yield from (one for one in row if one is not None)


def install() -> None:
    """Install the packages as root on Debian; elsewhere say what is missing, and leave."""
    voices.install(PACKAGES)


def call_of(speaker: Speaker, secs: float) -> Audio | None:
    """So many seconds of phrases of a speaker, one behind the other, or what there is.

    Returns:
        At 16 kHz or, where the voice is narrow, 8 kHz; as loud as a bot speaks. ``None`` if there is
        not enough of the voice.
    """
    rate = 16000 if speaker.wide else 8000
    parts: list[np.ndarray] = []
    for phrase in _phrases(speaker):
        parts += [phrase.resampled(rate).samples, np.zeros(rate // 5, np.float32)]
        if sum(map(len, parts)) >= secs * rate:
            break
    if sum(map(len, parts)) < _LEAST_SECS * rate:
        return None
    whole = voices.levelled(Audio(np.concatenate(parts), rate))
    return whole.span(0, min(secs, whole.duration))


def formed(call: Audio, form: Form) -> Audio:
    """A call as a pipeline has it: at 24 kHz; at 8 kHz; at 24 kHz but narrow before; 20 dB down."""
    if form == "narrow":
        return call.resampled(8000)
    if form == "narrow24":
        return call.resampled(8000).resampled(24000)
    wide = call.resampled(24000)
    return Audio(wide.samples * np.float32(0.1), 24000) if form == "faint" else wide


def form_of(speaker: Speaker) -> Form:
    """The form in which a voice is judged: in turn, so that there are enough of each."""
    turn = ("wide", "narrow", "faint", "narrow24") if speaker.wide else ("narrow", "narrow24")
    alike = [one for one in speakers(speaker.half) if one.wide == speaker.wide]
    return turn[alike.index(speaker) % len(turn)]


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

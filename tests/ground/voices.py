"""Voices that nobody here chose: prompts and speech that Debian packages, and formant synthesis.

Voices are split into two halves, whole speakers each: on ``"work"`` thresholds may be set, on
``"measured"`` they are only measured: people of a folder of recordings (:mod:`tests.ground.people`).
What was measured and looked at goes over to ``"work"``, and new voices take its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import soundfile
from scipy.signal import butter, sosfiltfilt

from workbench.audio import Audio

Half: TypeAlias = Literal["work", "measured"]

ROOT = Path(__file__).parents[2]
SYNTHESISED = ROOT / ".bench" / "voices"
PEOPLE = ROOT / ".bench" / "people"
CLIPS = Path(__file__).parent / "clips"
SHORTEST, LONGEST = 1.0, 8.0
#: Phrases that a voice has at least.
FEWEST: dict[Half, int] = {"work": 20, "measured": 6}
LEVEL = -23.0  # dBov of a phrase's loud part


class Phrase(NamedTuple):
    """One recording.

    Parameters:
        name: Speaker and file, such as ``"Carlo/vm-login"``.
        language: ISO 639-1, or ``""``.
        kind: ``"voice"``, ``"synthetic"`` (units of a voice), ``"formant"`` or ``"music"``.
        licence: SPDX identifier.
        path: The file.
        secs: Its length.
    """

    name: str
    language: str
    kind: str
    licence: str
    path: Path
    secs: float

    @property
    def speaker(self) -> str:
        return self.name.partition("/")[0]

    def audio(self, sample_rate: int = 8000) -> Audio:
        """The phrase at a rate, centred, its loud part at :data:`LEVEL`.

        Some prompts stand off centre by 5 % or begin with a plop, which is a fault and is told as one.
        """
        audio = Audio.read(self.path, default_channel=0).resampled(sample_rate)
        above = butter(2, 50, "highpass", fs=sample_rate, output="sos")
        heard = (
            sosfiltfilt(above, audio.samples).astype(np.float32)
            if len(audio) > 100
            else audio.samples
        )
        heard[audio.samples == 0] = 0
        return levelled(Audio(heard, sample_rate))


class Source(NamedTuple):
    """Recordings of one speaker in one package."""

    package: str
    speaker: str
    language: str
    kind: str
    licence: str
    folder: str
    pattern: str


_SOUNDS, _SA, _BY = "/usr/share/asterisk/sounds/", "CC-BY-SA-3.0", "CC-BY-3.0"
_EN, _ES = "asterisk-core-sounds-en-wav", "asterisk-core-sounds-es-wav"
_FR, _IT = "asterisk-core-sounds-fr-wav", "asterisk-core-sounds-it-wav"
_RU, _ZOT = "asterisk-core-sounds-ru-wav", "asterisk-prompt-it-menardi-wav"
_FR_GSM, _ES_GSM = "asterisk-prompt-fr-armelle", "asterisk-prompt-es-co"
_SPHINX, _SPHINX_DATA = "pocketsphinx-testdata", "/usr/share/pocketsphinx/test/data/"
_CODEC2, _CODEC2_DATA = "codec2-examples", "/usr/share/codec2/wav/"
_MUSIC = "asterisk-moh-opsound-wav"
#: A game in which two fish, played by actors, talk about all things.
_GAME, _GAME_DATA = "fillets-ng-data", "/usr/share/games/fillets-ng/"

SOURCES = (
    Source(_EN, "Allison", "en", "voice", _SA, _SOUNDS + "en_US_f_Allison", "**/*.wav"),
    Source(_ES, "Allison", "es", "voice", _SA, _SOUNDS + "es_MX_f_Allison", "**/*.wav"),
    Source(_FR, "June", "fr", "voice", _SA, _SOUNDS + "fr_CA_f_June", "**/*.wav"),
    Source(_IT, "Carlo", "it", "voice", _BY, _SOUNDS + "it_IT_m_Carlo", "**/*.wav"),
    Source(_ZOT, "Paola", "it", "voice", _SA, _SOUNDS + "it_IT_f_Menardi", "**/*.wav"),
    Source(_RU, "Ivrvoice", "ru", "voice", _BY, _SOUNDS + "ru_RU_f_IvrvoiceRU", "**/*.wav"),
    Source(_FR_GSM, "Armelle", "fr", "voice", "BSD-3-Clause", _SOUNDS + "fr", "*.gsm"),
    Source(_ES_GSM, "Colombia", "es", "voice", "GPL-2.0-or-later", _SOUNDS + "es", "*.gsm"),
    Source(_SPHINX, "Cards", "en", "voice", "BSD-2-Clause", _SPHINX_DATA + "cards", "*.wav"),
    Source(_SPHINX, "Austen", "en", "voice", "PDM-1.0", _SPHINX_DATA + "librivox", "*.wav"),
    *(
        Source(_CODEC2, f"Codec2-{name}", "en", "voice", "LGPL-2.1", _CODEC2_DATA, f"{name}.wav")
        for name in ("big_dog", "cross", "forig", "hts1a", "hts2a", "mmt1", "morig", "vk5qi")
    ),
    *(
        Source(
            f"{_GAME}-{language}",
            f"Fish_{size}",
            language,
            "voice",
            "GPL-2.0-or-later",
            f"{_GAME_DATA}sound",
            f"*/{language}/*-{letter}-*.ogg",
        )
        for language in ("cs", "nl")
        for size, letter in (("big", "v"), ("small", "m"))
    ),
    Source(_GAME, "Sea", "", "music", "GPL-2.0-or-later", f"{_GAME_DATA}music", "*.ogg"),
    Source(_MUSIC, "Hold", "", "music", "CC-BY-SA-3.0", "/usr/share/asterisk/moh", "*.wav"),
)
#: Languages in which what is synthesised is only measured.
MEASURED_LANGUAGES = ("la", "mk", "vi")
PACKAGES = (*sorted({source.package for source in SOURCES}), "espeak-ng", "flite")

#: What is synthesised, by espeak's name of the language. A few sentences of a telephone each.
SENTENCES = {
    "en": (
        "Hello, I would like to change my appointment.",
        "The number is four, seven, one, nine.",
        "No, that was last week, on Thursday evening.",
        "Could you say that again, please?",
        "I ordered two boxes, but only one of them has arrived so far.",
        "Thank you very much, goodbye.",
    ),
    "de": (
        "Guten Tag, ich rufe wegen meiner Rechnung an.",
        "Die Nummer ist vier, sieben, eins, neun.",
        "Nein, das war letzte Woche, am Donnerstag.",
        "Können Sie das bitte noch einmal sagen?",
        "Vielen Dank, auf Wiederhören.",
    ),
    "nl": (
        "Goedemiddag, ik wil graag een afspraak maken.",
        "Het nummer is vier, zeven, één, negen.",
        "Nee, dat was vorige week donderdag.",
        "Kunt u dat nog een keer zeggen?",
    ),
    "pl": (
        "Dzień dobry, chciałbym zmienić termin wizyty.",
        "Mój numer to cztery, siedem, jeden, dziewięć.",
        "Czy może pan to powtórzyć?",
        "Dziękuję bardzo, do widzenia.",
    ),
    "pt": (
        "Bom dia, eu gostaria de mudar a minha consulta.",
        "O número é quatro, sete, um, nove.",
        "Pode repetir, por favor?",
        "Muito obrigado, até logo.",
    ),
    "sv": (
        "Hej, jag skulle vilja boka om min tid.",
        "Numret är fyra, sju, ett, nio.",
        "Kan du säga det en gång till?",
        "Tack så mycket, hej då.",
    ),
    "hu": (
        "Jó napot kívánok, szeretném módosítani az időpontomat.",
        "A számom négy, hét, egy, kilenc.",
        "Megismételné, kérem?",
        "Köszönöm szépen, viszonthallásra.",
    ),
    "it": (
        "Buongiorno, vorrei spostare il mio appuntamento.",
        "Il numero è quattro, sette, uno, nove.",
        "Può ripetere, per favore?",
        "Grazie mille, arrivederci.",
    ),
    "tr": (
        "İyi günler, randevumu değiştirmek istiyorum.",
        "Numaram dört, yedi, bir, dokuz.",
        "Tekrar söyleyebilir misiniz, lütfen?",
        "Çok teşekkür ederim, iyi günler.",
    ),
    "fi": (
        "Hyvää päivää, haluaisin siirtää ajan ensi viikolle.",
        "Numero on neljä, seitsemän, yksi, yhdeksän.",
        "Voisitteko toistaa sen vielä kerran?",
        "Kiitos paljon, kuulemiin.",
    ),
    "ro": (
        "Bună ziua, aș dori să schimb ora programării mele.",
        "Numărul este patru, șapte, unu, nouă.",
        "Puteți repeta, vă rog?",
        "Vă mulțumesc foarte mult, la revedere.",
    ),
    "el": (
        "Καλημέρα σας, θα ήθελα να αλλάξω το ραντεβού μου.",
        "Ο αριθμός είναι τέσσερα, επτά, ένα, εννέα.",
        "Μπορείτε να το επαναλάβετε, παρακαλώ;",
        "Ευχαριστώ πολύ, αντίο σας.",
    ),
    "da": (
        "Goddag, jeg vil gerne flytte min aftale til i morgen.",
        "Nummeret er fire, syv, et, ni.",
        "Kan du sige det en gang til?",
        "Mange tak for hjælpen, farvel.",
    ),
    "id": (
        "Selamat pagi, saya ingin mengubah janji temu saya.",
        "Nomornya empat, tujuh, satu, sembilan.",
        "Bisa tolong diulangi sekali lagi?",
        "Terima kasih banyak, sampai jumpa.",
    ),
    "sw": (
        "Habari za asubuhi, ningependa kubadilisha miadi yangu.",
        "Nambari ni nne, saba, moja, tisa.",
        "Tafadhali unaweza kurudia tena?",
        "Asante sana, kwaheri ya kuonana.",
    ),
    "hr": (
        "Dobar dan, želio bih promijeniti termin svog pregleda.",
        "Broj je četiri, sedam, jedan, devet.",
        "Možete li to ponoviti, molim vas?",
        "Hvala vam lijepa, doviđenja.",
    ),
    "lt": (
        "Laba diena, norėčiau pakeisti savo vizito laiką.",
        "Numeris yra keturi, septyni, vienas, devyni.",
        "Ar galėtumėte pakartoti dar kartą?",
        "Labai ačiū už pagalbą, viso gero.",
    ),
    "sq": (
        "Mirëdita, do të doja të ndryshoja takimin tim.",
        "Numri është katër, shtatë, një, nëntë.",
        "A mund ta përsërisni edhe një herë, ju lutem?",
        "Faleminderit shumë, mirupafshim.",
    ),
    "ca": (
        "Bon dia, voldria canviar la meva visita de dijous.",
        "El número és quatre, set, u, nou.",
        "Ho pot repetir, si us plau?",
        "Moltes gràcies, adéu.",
    ),
    "et": (
        "Tere, sooviksin oma aega järgmisele nädalale muuta.",
        "Number on neli, seitse, üks, üheksa.",
        "Kas te võiksite seda korrata?",
        "Suur tänu, head aega.",
    ),
    "sk": (
        "Dobrý deň, chcel by som si zmeniť termín návštevy.",
        "Moje číslo je štyri, sedem, jeden, deväť.",
        "Môžete to, prosím, zopakovať?",
        "Ďakujem pekne, dovidenia.",
    ),
    "bg": (
        "Добър ден, бих искал да променя часа си за петък.",
        "Номерът е четири, седем, едно, девет.",
        "Може ли да повторите, ако обичате?",
        "Много благодаря, довиждане.",
    ),
    "lv": (
        "Labdien, es vēlētos pārcelt savu vizīti uz rītdienu.",
        "Numurs ir četri, septiņi, viens, deviņi.",
        "Vai jūs varētu to atkārtot, lūdzu?",
        "Liels paldies, uz redzēšanos.",
    ),
    "ms": (
        "Selamat pagi, saya mahu menukar masa temu janji saya.",
        "Nombornya empat, tujuh, satu, sembilan.",
        "Boleh tolong ulang sekali lagi?",
        "Terima kasih banyak, selamat tinggal.",
    ),
    "sl": (
        "Dober dan, rad bi prestavil svoj termin na petek.",
        "Številka je štiri, sedem, ena, devet.",
        "Ali lahko to ponovite, prosim?",
        "Najlepša hvala, na svidenje.",
    ),
    "az": (
        "Salam, görüşümün vaxtını dəyişmək istəyirəm.",
        "Nömrə dörd, yeddi, bir, doqquzdur.",
        "Zəhmət olmasa, bir daha təkrar edin.",
        "Çox sağ olun, hələlik.",
    ),
    "eu": (
        "Egun on, nire hitzordua aldatu nahi nuke.",
        "Zenbakia lau, zazpi, bat, bederatzi da.",
        "Errepika dezakezu, mesedez?",
        "Eskerrik asko, gero arte.",
    ),
    "af": (
        "Goeiemôre, ek wil graag my afspraak na Vrydag toe skuif.",
        "Die nommer is vier, sewe, een, nege.",
        "Kan u dit asseblief weer sê?",
        "Baie dankie, totsiens.",
    ),
    "cs": (
        "Dobrý den, chtěla bych změnit termín své návštěvy.",
        "Moje číslo je čtyři, sedm, jedna, devět.",
        "Můžete mi to prosím zopakovat?",
        "Mockrát děkuji, na shledanou.",
    ),
    "cy": (
        "Bore da, hoffwn newid fy apwyntiad i ddydd Gwener.",
        "Y rhif yw pedwar, saith, un, naw.",
        "Allwch chi ddweud hynny eto, os gwelwch yn dda?",
        "Diolch yn fawr iawn, hwyl fawr.",
    ),
    "eo": (
        "Bonan tagon, mi ŝatus ŝanĝi la tempon de mia vizito.",
        "La numero estas kvar, sep, unu, naŭ.",
        "Ĉu vi povus ripeti tion, mi petas?",
        "Multan dankon, ĝis revido.",
    ),
    "is": (
        "Góðan dag, ég vil gjarnan breyta tímanum mínum á föstudag.",
        "Númerið er fjórir, sjö, einn, níu.",
        "Gætirðu endurtekið þetta, takk?",
        "Kærar þakkir fyrir hjálpina, bless.",
    ),
    "nb": (
        "God dag, jeg vil gjerne flytte timen min til fredag.",
        "Nummeret er fire, sju, en, ni.",
        "Kan du si det en gang til, er du snill?",
        "Tusen takk for hjelpen, ha det bra.",
    ),
    "la": (
        "Salve, diem conventus mei mutare velim.",
        "Numerus est quattuor, septem, unus, novem.",
        "Potesne hoc iterum dicere, quaeso?",
        "Gratias tibi ago, vale.",
    ),
    "mk": (
        "Добар ден, сакам да го променам мојот термин за петок.",
        "Бројот е четири, седум, еден, девет.",
        "Може ли да повторите, ве молам?",
        "Ви благодарам многу, пријатно.",
    ),
    "vi": (
        "Xin chào, tôi muốn đổi lịch hẹn sang thứ sáu.",
        "Số của tôi là bốn, bảy, một, chín.",
        "Xin vui lòng nhắc lại một lần nữa.",
        "Cảm ơn rất nhiều, tạm biệt.",
    ),
}
FLITE = ("kal", "awb", "rms", "slt")


def install(packages: Sequence[str] = PACKAGES) -> None:
    """Install packages as root on Debian; elsewhere say what is missing, and leave."""
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"voices missing; as root on Debian: apt-get install {' '.join(missing)}")
    quiet = {
        "stdout": subprocess.DEVNULL,
        "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    }
    subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
    wanted = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    subprocess.run(wanted, check=True, **quiet)


def need(half: Half) -> None:
    """Leave with a sentence if there is nobody to be measured with."""
    if half == "measured" and not speakers(half, "voice", FEWEST[half]):
        sys.exit("nobody to measure with: python -m tests.ground gather FOLDER")


def _is_installed(package: str) -> bool:
    return Path("/usr/share/doc", package).exists()


@cache
def catalogue(half: Half | None = None, kind: str | None = None) -> tuple[Phrase, ...]:
    """Phrases of 1 to 8 s, and hold music of any length, of what is installed.

    Args:
        half: Only the speakers of one half.
        kind: Only one kind.
    """
    return tuple(
        phrase
        for phrase in _all()
        if (kind is None or phrase.kind == kind)
        and (half is None or half_of_phrase(phrase) == half)
    )


def half_of_phrase(phrase: Phrase) -> Half:
    """Which half something belongs to: by where it is from, or its language if it is synthesised."""
    is_new = phrase.kind == "formant" and phrase.language in MEASURED_LANGUAGES
    return "measured" if is_new or phrase.path.is_relative_to(PEOPLE / "measured") else "work"


def speakers(half: Half, kind: str, fewest: int = 3) -> dict[str, list[Phrase]]:
    """Phrases of each voice of one half that has some of them."""
    found: dict[str, list[Phrase]] = {}
    for phrase in catalogue(half, kind):
        found.setdefault(f"{phrase.speaker}-{phrase.language}", []).append(phrase)
    return {name: phrases for name, phrases in found.items() if len(phrases) >= fewest}


def clips() -> list[Phrase]:
    """The few phrases that are in the tree, for where no package is installed."""
    return [
        Phrase(f"{path.stem.replace('-', '/', 1)}", "", "voice", "", path, _secs(path))
        for path in sorted(CLIPS.glob("*.flac"))
    ]


@cache
def _all() -> tuple[Phrase, ...]:
    known = (*_packaged(), *_synthesised(), *_gathered())
    return tuple(p for p in known if p.kind == "music" or SHORTEST <= p.secs <= LONGEST)


def _packaged() -> Iterator[Phrase]:
    for source in SOURCES:
        for path in sorted(Path(source.folder).glob(source.pattern)):
            inside = path.relative_to(source.folder).with_suffix("").as_posix()
            if inside.startswith("silence/"):
                continue
            name = f"{source.speaker}/{inside}"
            yield Phrase(name, source.language, source.kind, source.licence, path, _secs(path))


def _synthesised() -> Iterator[Phrase]:
    for language, sentences in SENTENCES.items():
        for number, text in enumerate(sentences):
            for gender in ("m3", "f2"):
                name = f"espeak_{language}_{gender}/{number}"
                command = ["espeak-ng", "-v", f"{language}+{gender}", "-w"]
                yield from synthesised(name, language, "formant", command, [text])
    for voice in FLITE:
        for number, text in enumerate(SENTENCES["en"]):
            command = ["flite", "-voice", voice, "-t", text, "-o"]
            yield from synthesised(f"flite_{voice}/{number}", "en", "synthetic", command, [])


def _gathered() -> Iterator[Phrase]:
    for path in sorted(PEOPLE.glob("*/*/*.flac")):
        speaker = path.parent.name
        kind = "music" if speaker == "music" else "voice"
        yield Phrase(f"{speaker}/{path.stem}", "", kind, "", path, _secs(path))


def synthesised(
    name: str, language: str, kind: str, command: list[str], rest: list[str]
) -> Iterator[Phrase]:
    """What a synthesiser makes of a text, kept in a file; nothing where there is no synthesiser."""
    path = SYNTHESISED / f"{name}.wav"
    if not path.exists():
        if shutil.which(command[0]) is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([*command, str(path), *rest], check=True, capture_output=True)
    yield Phrase(name, language, kind, "own text", path, _secs(path))


def _secs(path: Path) -> float:
    """Length of a file in seconds; 0 if it is no sound."""
    if path.suffix == ".gsm":
        return path.stat().st_size // 33 * 0.02
    try:
        return float(soundfile.info(str(path)).duration)
    except soundfile.LibsndfileError:
        return 0.0


def levelled(audio: Audio, dbov: float = LEVEL) -> Audio:
    """Amplify so that the frames of 20 ms within 25 dB of the loudest have this level together."""
    size = audio.sample_rate // 50
    frames = audio.samples[: len(audio) // size * size].reshape(-1, size).astype(np.float64)
    power = np.mean(frames**2, axis=1)
    if not len(power) or power.max() <= 0:
        return audio
    active = float(power[power > power.max() * 10**-2.5].mean())
    gain = min(10 ** (dbov / 20) / active**0.5, 0.98 / float(np.abs(audio.samples).max()))
    return Audio(audio.samples * np.float32(gain), audio.sample_rate)

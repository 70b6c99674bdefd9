"""People of a folder of recordings, of one half or the other.

Any corpus of speech will do: a folder for each speaker, and one named ``music``. All of it is fetched,
none is in the tree.

Measured with once and looked at since, so of the work half now: 261 readers of LibriSpeech (CC-BY-4.0),
as the examples of the Resemblyzer repository have them, and six pieces of the EBU's SQAM disc; the voice
data sets of the Rhasspy project in German, English and Dutch (public domain), a Korean reader in three
rooms (Deeply's Korean Read Speech Corpus, CC-BY-SA-4.0), readers of a set made to test telephone networks
(Creative Commons, see voxserv/audio_quality_testing_samples), and the pieces of librosa's examples.

The measured half since: men and women of talk shows in Urdu (siddiquelatif/URDU-Dataset, for research
only); a reader of Berom (mandeebot/Berom_Speech_Dataset, no licence stated); a woman in English (LJ
Speech, public domain, as the tests of coqui-ai/TTS have it); German prompts by GSM
(beroNet/asterisk-sounds, GPL-2.0-only); and what neural synthesisers say: 22 voices in Mexican Spanish
(confianza-hys/asterisk-sounds, CC-BY-SA-4.0), a man in German by several vocoders
(thorstenMueller/Thorsten-Voice, CC0-1.0) and a woman in Mandarin (ranchlai/mandarin-tts, no licence
stated). Its music is the examples of deezer/spleeter, facebookresearch/demucs and
musikalkemist/AudioSignalProcessingForML (MIT), and rhythms of tyiannak/pyAudioAnalysis (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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

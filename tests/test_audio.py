import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from workbench.audio import Audio


def tone(rate: int = 8000, secs: float = 1.0, frequency: float = 440.0, peak: float = 0.5) -> Audio:
    time = np.arange(round(rate * secs)) / rate
    return Audio(peak * np.sin(2 * np.pi * frequency * time), rate)


def test_keeps_float32_and_is_read_only():
    source = np.zeros(4)
    audio = Audio(source, 8000)
    assert audio.samples.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        audio.samples[0] = 1
    source[0] = 1  # the caller's own array stays writable


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(4, np.int16), 8000, "dtype int16, expected float in .* divide int16 by 32768"),
        (np.zeros((4, 2)), 8000, r"shape \(4, 2\), expected one dimension"),
        (np.array([0.0, np.nan]), 8000, "not finite"),
        (np.array([np.inf]), 8000, "not finite"),
        (np.array([1e300]), 8000, "not finite"),
        (np.zeros(4), 0, "rate of 0 Hz"),
        (np.zeros(4), -8000, "rate of -8000 Hz"),
        (np.zeros(4), 8000.5, "rate of 8000.5 Hz"),
        (np.zeros(4), True, "rate of True Hz"),
        (np.zeros(4), np.inf, "rate of inf Hz"),
        (np.zeros(4), None, "rate of None Hz"),
    ],
)
def test_refuses_what_is_no_audio(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        Audio(samples, rate)


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0))
def test_pcm_comes_back_bit_for_bit(pcm):
    assert Audio.from_pcm(pcm, 8000).pcm() == pcm


def test_pcm_refuses_half_a_sample():
    with pytest.raises(ValueError, match="3 bytes"):
        Audio.from_pcm(b"abc", 8000)


def test_pcm_clips_what_does_not_fit():
    assert np.frombuffer(Audio(np.array([1.5, -1.5, 1.0]), 8000).pcm(), "<i2").tolist() == [
        32767,
        -32768,
        32767,
    ]


def test_level_of_a_full_scale_sine_is_minus_three():
    assert tone(peak=1.0).level == pytest.approx(-3.01, abs=0.01)
    assert Audio(np.zeros(8), 8000).level == -np.inf
    assert Audio(np.zeros(0), 8000).level == -np.inf


def test_span_cuts_by_the_clock_and_stays_inside():
    audio = Audio(np.arange(8000) / 8000, 8000)
    part = audio.span(0.25, 0.5)
    assert part.duration == 0.25
    assert part.samples[0] == 0.25
    assert audio.span(-1, 0.1).duration == pytest.approx(0.1)
    assert audio.span(0.9, 7).duration == pytest.approx(0.1)
    assert len(audio.span(2, 3)) == 0
    with pytest.raises(ValueError, match="end is before the start"):
        audio.span(0.5, 0.2)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_resampling_keeps_length_level_and_place(rate):
    audio = tone(16000)
    changed = audio.resampled(rate)
    assert changed.sample_rate == rate
    assert changed.duration == pytest.approx(audio.duration, abs=1 / 8000)
    expected = tone(rate).samples[rate // 10 : rate - rate // 10]
    found = changed.samples[rate // 10 : rate - rate // 10]
    assert np.abs(found - expected).max() < 0.002  # any delay would show here


def test_resampling_to_the_same_rate_is_the_audio_itself():
    audio = tone()
    assert audio.resampled(8000) is audio


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_files_hold_the_very_samples(tmp_path, suffix):
    audio = Audio.from_pcm(tone(24000).pcm(), 24000)
    audio.write(tmp_path / f"a.{suffix}")
    again = Audio.read(tmp_path / f"a.{suffix}")
    assert again.sample_rate == 24000
    assert again.pcm() == audio.pcm()


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffixes are \.wav and \.flac"):
        tone().write(tmp_path / "a.mp3")


@pytest.mark.parametrize("content", [b"", b"some text", b"RIFF", b"fLaC" + bytes(100)])
def test_what_is_no_sound_is_named(tmp_path, content):
    path = tmp_path / "note.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"note\.wav: not a sound file \("):
        Audio.read(path)


def test_a_file_that_cannot_be_opened_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        Audio.read(tmp_path / "missing.wav")
    assert missing.value.filename == str(tmp_path / "missing.wav")
    with pytest.raises(IsADirectoryError):
        Audio.read(tmp_path)
    for suffix in ("wav", "flac"):
        with pytest.raises(FileNotFoundError):
            tone().write(tmp_path / "missing" / f"a.{suffix}")


def test_a_channel_of_a_recording_must_be_chosen(tmp_path):
    both = np.column_stack((tone().samples, np.zeros(8000)))
    soundfile.write(tmp_path / "two.wav", both, 8000)
    with pytest.raises(ValueError, match=r"2 channels, choose channel 0 to 1"):
        Audio.read(tmp_path / "two.wav")
    assert Audio.read(tmp_path / "two.wav", channel=0).level > -20
    assert Audio.read(tmp_path / "two.wav", channel=1).level == -np.inf
    with pytest.raises(ValueError, match="no channel 2"):
        Audio.read(tmp_path / "two.wav", channel=2)


def test_repr_says_length_rate_and_level():
    assert repr(tone()) == "Audio(1.000 s, 8000 Hz, -9.0 dBov)"


def test_player_carries_its_sound():
    html = tone()._repr_html_()
    assert "<audio controls" in html
    assert "data:audio/wav;base64,UklGR" in html  # RIFF
    long = Audio(np.zeros(400 * 8000), 8000)._repr_html_()
    assert "the first 328 s" in long
    assert len(long) < 8_000_000


def test_numpy_takes_it_as_an_array():
    audio = tone()
    assert np.asarray(audio).shape == (8000,)
    assert float(np.max(audio)) == pytest.approx(0.5, abs=0.01)

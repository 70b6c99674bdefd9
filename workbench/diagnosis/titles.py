"""What each kind of finding is called before people; programs go by the kind."""

from __future__ import annotations

from typing import Final

__all__ = ["TITLES"]

#: Kind of finding to its title: what is wrong, in a few words that fit a heading and a label.
TITLES: Final[dict[str, str]] = {
    "underrun": "Gap in playback",
    "pacing": "Not sent in real time",
    "dead_air": "Dead air",
    "slow_barge_in": "Slow to stop talking",
    "missing_clear": "Playback not cleared",
    "false_barge_in": "False interruption",
    "slow_response": "Slow replies",
    "echo": "Echo of the bot",
    "clipping": "Clipped audio",
    "level_mismatch": "Levels far apart",
    "noise": "Background noise",
    "dc_offset": "DC offset",
    "sequence_gap": "Caller audio missing",
    "duplicate": "Repeated messages",
    "jitter": "Delivery stalled",
    "loop_lag": "Bot process stalled",
    "wrong_codec": "Wrong encoding",
    "container_header": "File header in the audio",
    "own_track": "Bot hears its own track",
    "one_way": "One-way audio",
    "bad_message": "Unreadable messages",
    "tail_lost": "Last syllable cut off",
    "audio_lost": "Audio lost in serializer",
    "dropout": "Dropouts in speech",
    "upsampled": "Narrowband sent as wideband",
    "wrong_rate": "Wrong sample rate",
    "late_start": "Late start",
    "cut_goodbye": "Goodbye cut off",
    "hang_up_unconfirmed": "Hang-up not confirmed",
    "early_end": "Stream ended early",
    "slow_shutdown": "Slow to hang up",
    "stale_audio": "Old speech after barge-in",
    "unheard_speech": "Speech never heard",
    "ambience_gap": "Gap in background sound",
    "onset_pop": "Pop at start of speech",
    "block_joint": "Clicks between blocks",
    "aliasing": "Aliasing",
    "clock_drift": "Clock drift",
    "resampling": "Resampled in serializer",
    "rtvi_leak": "Web client messages sent",
    "wire_overhead": "High message overhead",
    "capture_dropped": "Recording incomplete",
}

"""The table of runs: what the bot is, what the caller does, what of it is rightly told.

Everything that is not said is Pipecat's default. A scenario is data; ``bot`` and ``caller`` act it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tests.ground.voices import Half


@dataclass(frozen=True)
class Answer:
    """One thing that the bot says.

    Parameters:
        secs: About how long, in phrases of a voice.
        think: Seconds from its cue to the text, as of a language model.
        function: Seconds that a function call takes before it.
        filler: Whether a phrase is said before that function call.
        keys: DTMF keys that are sent after it.
    """

    secs: float = 4.0
    think: float = 0.4
    function: float = 0.0
    filler: bool = False
    keys: str = ""


@dataclass(frozen=True)
class Say:
    """The caller says something: ``secs`` of phrases, or of one of the sounds of ``noises``."""

    secs: float = 2.5
    sound: str = ""


@dataclass(frozen=True)
class Listen:
    """The caller waits until the bot has been heard, and then no more for ``quiet`` seconds.

    After ``most`` seconds without any sound of the bot he gives up waiting.
    """

    quiet: float = 0.6
    most: float = 15.0


@dataclass(frozen=True)
class CutIn:
    """The caller waits until the bot has been heard for ``after`` seconds."""

    after: float = 1.5


@dataclass(frozen=True)
class Pause:
    """The caller says nothing for ``secs`` seconds."""

    secs: float


Step: TypeAlias = Say | Listen | CutIn | Pause

#: A short call: three turns of each side.
TALK: tuple[Step, ...] = (Listen(), Say(2.0), Listen(), Say(3.5), Listen(), Say(1.5), Listen())


@dataclass(frozen=True)
class Scenario:
    """One run.

    Parameters:
        name: Of the run.
        in_rate: The pipeline's rate for the caller's audio, in hertz.
        out_rate: The pipeline's rate for the bot's audio, in hertz.
        transport: Further parameters of Pipecat's transport.
        serializer: Parameters of the serializer.
        greeting: What the bot says first; ``None`` if it waits for the caller.
        answers: What it says when the caller has finished, one after the other.
        speed: How many times faster than real time speech is made; 0: all at once, and straight to
            the transport, as a speech-to-speech service does it.
        mixer: Whether there is background sound.
        mute: Whether the caller is not listened to while the bot speaks first.
        idle: After so many seconds without the caller the bot asks; 0: never.
        bot_ends: How the bot ends the call after its last answer, or ``""``.
        hangs_up: How the caller ends it when his steps are over.
        hang_up_api: Whether the serializer hangs up over the Voice API.
        start: Who sees ``start``: the transport, or a runner that keeps it or hands it on.
        steps: What the caller does.
        line_dbov: Noise of the caller's line; ``None``: digital silence.
        background: One of the sounds of ``noises`` behind the caller, all the time.
        group: What the call is counted as.
        rightly: Kinds of findings that are true of it.
    """

    name: str
    in_rate: int = 16000
    out_rate: int = 24000
    transport: dict[str, Any] = field(default_factory=dict)
    serializer: dict[str, Any] = field(default_factory=dict)
    greeting: Answer | None = Answer(3.0, think=0.3)
    answers: tuple[Answer, ...] = (Answer(4.0), Answer(6.0), Answer(2.0))
    speed: float = 4.0
    mixer: bool = False
    mute: bool = False
    idle: float = 0.0
    bot_ends: Literal["", "end", "cancel"] = "end"
    hangs_up: Literal["stop", "close", "vanish", "stay"] = "stay"
    hang_up_api: bool = False
    start: Literal["transport", "runner", "handed"] = "transport"
    steps: tuple[Step, ...] = TALK
    line_dbov: float | None = -66.0
    background: str = ""
    group: str = "ordinary"
    rightly: tuple[str, ...] = ()


def _pcm(rate: int) -> dict[str, Any]:
    return {"outbound_encoding": "PCM", "outbound_pcm_sample_rate": rate}


_NONE = {"audio_out_end_silence_secs": 0}
_CALLER_ENDS: dict[str, Any] = {"bot_ends": "", "answers": (Answer(4.0), Answer(5.0), Answer(3.0))}
_QUICK = (
    Listen(),
    Say(1.2),
    CutIn(1.0),
    Say(1.5),
    Listen(),
    Say(2.0),
    CutIn(2.5),
    Say(1.0),
    Listen(),
)
_FOUR = (Answer(4.0), Answer(5.0), Answer(4.0), Answer(2.0))

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("defaults"),
    Scenario("defaults_8k", in_rate=8000, out_rate=8000),
    Scenario("defaults_16k", in_rate=16000, out_rate=16000),
    Scenario("mixed_rates", in_rate=8000, out_rate=24000),
    Scenario("no_end_silence", transport=_NONE),
    Scenario("no_end_silence_8k", in_rate=8000, out_rate=8000, transport=_NONE),
    *(
        Scenario(f"chunks_{n}", out_rate=8000, transport={"audio_out_10ms_chunks": n})
        for n in (1, 2, 6)
    ),
    Scenario("pcm_8k", in_rate=8000, out_rate=8000, serializer=_pcm(8000)),
    Scenario("pcm_16k", out_rate=16000, serializer=_pcm(16000)),
    Scenario("pcm_24k", serializer=_pcm(24000)),
    # The caller waits for a silence that the background never leaves.
    Scenario("mixer", out_rate=8000, mixer=True, rightly=("dead_air",)),
    Scenario("mixer_24k", mixer=True, **_CALLER_ENDS, hangs_up="stop", rightly=("dead_air",)),
    Scenario("no_auto_silence", transport={"audio_out_auto_silence": False}),
    Scenario("speech_to_speech", speed=0.0, answers=(Answer(7.0), Answer(9.0), Answer(3.0))),
    Scenario("speech_to_speech_8k", speed=0.0, out_rate=8000, steps=_QUICK, answers=_FOUR),
    Scenario("function_filler", answers=(Answer(3.0, function=2.5, filler=True), Answer(4.0))),
    Scenario("function_short", answers=(Answer(3.0, function=1.0), Answer(4.0))),
    Scenario(
        "function_long",
        answers=(Answer(3.0, function=4.0), Answer(4.0)),
        rightly=("slow_response", "dead_air"),
    ),
    Scenario("function_filler_8k", out_rate=8000, steps=(Listen(), Say(3.0), Listen(), Pause(3.0)),
             answers=(Answer(6.0, function=4.0, filler=True),), bot_ends="", hangs_up="stop"),
    Scenario("idle_prompts", idle=4.0, steps=(Listen(), Pause(7.0), Say(2.0), Listen(), Pause(6.0)),
             bot_ends="", hangs_up="stop"),
    Scenario("caller_silent", idle=5.0, steps=(Listen(), Pause(16.0)), bot_ends="",
             hangs_up="stop", group="silent caller"),
    Scenario("caller_digital_silence", steps=(Listen(), Pause(8.0)), bot_ends="", hangs_up="stop",
             line_dbov=None, group="silent caller", rightly=("one_way",)),
    Scenario("mute_first", mute=True, greeting=Answer(5.0),
             steps=(CutIn(1.0), Say(1.5), Listen(), Say(2.0), Listen(), Say(2.0), Listen()),
             rightly=("slow_barge_in",)),
    Scenario("bot_waits", greeting=None, steps=(Pause(1.0), Say(1.0), *TALK)),
    Scenario("keys", answers=(Answer(3.0, keys="4711#"), Answer(3.0)), out_rate=8000),
    Scenario("ends_by_cancel", bot_ends="cancel", answers=(Answer(4.0), Answer(4.0))),
    Scenario("hang_up_api", hang_up_api=True),
    Scenario("hang_up_api_8k", hang_up_api=True, in_rate=8000, out_rate=8000, transport=_NONE),
    Scenario("caller_stops", **_CALLER_ENDS, hangs_up="stop"),
    Scenario("caller_stops_api", **_CALLER_ENDS, hangs_up="stop", hang_up_api=True),
    Scenario("caller_closes", **_CALLER_ENDS, hangs_up="close", out_rate=8000),
    Scenario("caller_vanishes", **_CALLER_ENDS, hangs_up="vanish", rightly=("broke_off",)),
    Scenario("stops_while_bot_speaks", bot_ends="", hangs_up="stop", answers=(Answer(8.0),),
             steps=(Listen(), Say(2.0), CutIn(2.0), Pause(0.3))),
    Scenario("start_taken", start="runner"),
    Scenario("start_taken_8k", start="runner", in_rate=8000, out_rate=8000, hangs_up="stop",
             **_CALLER_ENDS),
    Scenario("start_handed", start="handed", **_CALLER_ENDS, hangs_up="stop"),
    Scenario("interrupted", steps=_QUICK, answers=_FOUR),
    Scenario("interrupted_8k", steps=_QUICK, answers=_FOUR, in_rate=8000, out_rate=8000),
    Scenario("interrupted_pcm", steps=_QUICK, answers=_FOUR, out_rate=16000, serializer=_pcm(16000)),
    Scenario("pauses_in_sentence", steps=(Listen(), Say(1.5), Pause(0.5), Say(2.0), Listen(),
                                          Say(1.5), Pause(1.2), Say(1.5), Listen(), Say(1.0),
                                          Listen()), answers=_FOUR, rightly=("early_answer",)),
    Scenario("voicemail", greeting=None, bot_ends="end", answers=(Answer(6.0, think=1.0),),
             steps=(Pause(0.4), Say(7.0), Say(0.8, sound="beep"), Listen()), group="no voice"),
    Scenario("hold_music", steps=(Listen(), Pause(18.0)), bot_ends="", hangs_up="stop",
             background="music", group="no voice"),
    # The bot fell silent at it.
    Scenario("television", background="television", **_CALLER_ENDS, hangs_up="stop",
             group="no voice", rightly=("false_barge_in", "noise")),
    Scenario("fax", steps=(Listen(), Say(3.0, sound="fax"), Pause(2.0), Say(6.0, sound="modem")),
             bot_ends="", hangs_up="stop", group="no voice"),
    Scenario("caller_keys", steps=(Listen(), Say(2.0, sound="keys"), Listen(), Say(2.0), Listen(),
                                   Say(1.5, sound="keys"), Listen())),
    Scenario("long_talk", steps=TALK * 3, answers=(Answer(4.0), Answer(7.0), Answer(2.5)) * 3),
    Scenario("long_talk_8k", in_rate=8000, out_rate=8000, steps=TALK * 3,
             answers=(Answer(4.0), Answer(7.0), Answer(2.5)) * 3),
)  # fmt: skip

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def scenario_of(name: str) -> Scenario:
    """The scenario of a run that is named without its Pipecat, such as ``"defaults-2"``."""
    return BY_NAME[name.partition("-")[0]]


def half_of_run(run: str) -> Half:
    """First to tenth takes may be looked at, such as ``"1.14.0-defaults-2"``; eleventh ones may not."""
    return "measured" if run.endswith("-11") else "work"

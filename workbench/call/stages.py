"""The stages of a wait for the bot: which there are, whose they are, and in words.

Conventions:
    Times in seconds on the call's clock. The stages of a wait follow each other without a gap: each
    begins where the one before it ended, the first with the wait, the last ends with it. So their sum
    is the whole, whatever is known. :mod:`workbench.call.milestones` splits a wait into them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["KINDS", "Kind", "Stage", "in_words", "largest"]


class Kind(NamedTuple):
    """One kind of stage.

    Parameters:
        title: What it ends with, for people.
        noun: The same, of whom it belongs to: "CartesiaTTSService's *first byte*".
        setting: What governs how long it takes.
    """

    title: str
    noun: str
    setting: str


#: What governs a silence too, where the serializer has it.
_CUSHION: Final = "; outbound_cushion_ms"

#: Every kind, by name, in the order in which most pipelines pass them.
KINDS: Final[dict[str, Kind]] = {
    "pipeline": Kind("all that the pipeline did", "part", "PipelineEvents(tap) tells the stages"),
    "start": Kind("pipeline started", "start", "connect services before the call is answered"),
    "abandoned": Kind(
        "an answer begun and thrown away",
        "interruption",
        "what may interrupt: VADParams, min_words",
    ),
    "voice_end": Kind("end of voice noticed", "end of voice", "VADParams.stop_secs"),
    "transcript": Kind(
        "transcript final", "transcript", "the recogniser's endpointing; ttfs_p99_latency"
    ),
    "turn_end": Kind(
        "end of turn decided", "end of turn", "the turn analyzer; user_speech_timeout"
    ),
    "model_asked": Kind(
        "model asked", "question to the model", "what stands between the turn's end and the model"
    ),
    "function_asked": Kind(
        "function called by the model", "call of a function", "the model, its context, its region"
    ),
    "function": Kind(
        "function's result", "result", "the function; let the bot say something meanwhile"
    ),
    "first_token": Kind(
        "model's first token", "first token", "the model, its context, its region; prompt caching"
    ),
    "sentence": Kind(
        "first sentence handed to the synthesis", "first sentence", "text_aggregation_mode"
    ),
    "first_byte": Kind(
        "synthesis' first byte", "first byte", "the voice's model and region; one connection kept"
    ),
    "frame": Kind("first frame at the serializer", "first frame", "audio_out_10ms_chunks"),
    "message": Kind("first message", "first message", "audio_out_sample_rate as the wire's"),
    "audible": Kind("first audible sample", "silence before the words", f"the voice{_CUSHION}"),
}


@dataclass(frozen=True)
class Stage:
    """One stage of a wait.

    Parameters:
        name: Its kind, one of :data:`KINDS`.
        start: When it began: where the one before it ended.
        end: When what it ends with happened.
        owner: Whose it is: Pipecat's name of the processor, of a function its own; empty where
            nothing tells.
        can_cushion: Whether the serializer has ``outbound_cushion_ms``, as other carriers' have not.
    """

    name: str
    start: float
    end: float
    owner: str = ""
    can_cushion: bool = True

    @property
    def took_ms(self) -> float:
        """How long it took."""
        return 1000 * (self.end - self.start)

    @property
    def title(self) -> str:
        """What it ends with."""
        return KINDS[self.name].title

    @property
    def setting(self) -> str:
        """What governs how long it takes."""
        setting = KINDS[self.name].setting
        return setting if self.can_cushion else setting.removesuffix(_CUSHION)

    @property
    def service(self) -> str:
        """The owner without the number that Pipecat gives it."""
        return self.owner.partition("#")[0]

    @property
    def told(self) -> str:
        """What it ends with and whose it is: ``CartesiaTTSService's first byte``."""
        service = self.service
        if not service:
            return self.title
        return f"{service}{chr(39) if service.endswith('s') else chr(39) + 's'} {KINDS[self.name].noun}"

    def __str__(self) -> str:
        return f"{self.took_ms:.0f} ms {self.told}"


def largest(stages: Iterable[Stage]) -> Stage | None:
    """The stage that took longest; ``None`` of none."""
    return max(stages, key=lambda stage: stage.took_ms, default=None)


def in_words(stages: Iterable[Stage]) -> str:
    """Whose the largest share was: ``1.9 s, of it 1.2 s (63 %) CartesiaTTSService's first byte``.

    Args:
        stages: Of one wait or of several; those of one kind and owner count together.

    Returns:
        Empty where nothing but the whole is known.
    """
    took: dict[str, float] = {}
    for stage in stages:
        took[stage.told] = took.get(stage.told, 0.0) + stage.took_ms
    most = max(took, key=lambda told: took[told], default=KINDS["pipeline"].title)
    if most == KINDS["pipeline"].title:
        return ""
    whole = sum(took.values())
    share = f"{_secs(took[most])} ({100 * took[most] / whole:.0f} %) {most}"
    return f"{_secs(whole)}, of it {share}"


def _secs(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"

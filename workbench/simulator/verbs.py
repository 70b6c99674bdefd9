"""The verbs of BXML: how long each takes, and what it does to the call.

============================================== ================================================
``Pause``, ``Ring``, ``SendDtmf``              their time, as documented
``SpeakSentence``                              0.4 s a word: nothing is synthesised
``PlayAudio``                                  3 s: its file is not fetched
``Gather``                                     its prompts and ``firstDigitTimeout``, as often as it
                                               repeats: no key is pressed; then ``gatherUrl``, if any
``Record``                                     ``silenceTimeout``, else ``maxDuration``: nothing is
                                               said to it; then ``recordCompleteUrl``, if any
``Redirect``                                   no time: what its URL answers takes over
``Hangup``                                     ends the call
``StopStream``                                 no time, or with ``wait="true"`` until the socket closes
``Transfer``, ``Bridge``, ``Conference``,      hands the caller on to somebody who stays: the call
``Connect``, ``Forward``, ``Refer``            goes on as long as the streams that began before it
the others                                     no time
============================================== ================================================

References:
    Bandwidth, BXML: each verb's attributes, their defaults and ranges; with a URL, the document
    that it answers takes over, and what follows the verb is ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from workbench.simulator import start_stream
from workbench.simulator.route import Fallback, not_an_address
from workbench.simulator.start_stream import StartStream

__all__ = ["HANDS_ON", "Verb", "read"]

#: 150 words a minute, an unhurried speaker.
_WORD_SECS: Final = 0.4
_AUDIO_SECS: Final = 3.0

HANDS_ON: Final = frozenset("Bridge Conference Connect Forward Refer Transfer".split())
_INSTANT: Final = frozenset(
    "Hangup PauseRecording ResumeRecording StartGather StartRecording StartStream "
    "StartTranscription StopGather StopRecording StopStream StopTranscription Tag".split()
)
#: The attribute with a URL, that with its method, and the event that is sent there.
_ASKS: Final = {
    "Gather": ("gatherUrl", "gatherMethod", "gather"),
    "Record": ("recordCompleteUrl", "recordCompleteMethod", "recordComplete"),
    "Redirect": ("redirectUrl", "redirectMethod", "redirect"),
}
_PROMPTS: Final = ("SpeakSentence", "PlayAudio")
_PAUSES: Final = {",": 0.5, "w": 0.5, "W": 1.0}
_DIGITS: Final = frozenset("0123456789*#abcdABCD").union(_PAUSES)


@dataclass(frozen=True)
class Verb:
    """One verb of a document.

    Parameters:
        name: Its tag.
        secs: How long it takes; infinite for what lasts until somebody ends it.
        heard_secs: How long the caller hears something of it; silence is what is left.
        stream: What a ``<StartStream>`` asks for.
        stops: Name of the stream that a ``<StopStream>`` stops.
        waits: Whether it waits for that stream's socket to close.
        event: ``eventType`` of the webhook that is asked for another document; ``""`` for none.
        url: That webhook's, perhaps relative.
        method: ``"POST"`` or ``"GET"``.
        credentials: User and password for it, if any.
        fallback: Where it goes if there it fails, if it says so.
        tag: What all events carry from now on, if it says so.
    """

    name: str
    secs: float = 0.0
    heard_secs: float = 0.0
    stream: StartStream | None = None
    stops: str = ""
    waits: bool = False
    event: str = ""
    url: str = ""
    method: str = "POST"
    credentials: tuple[str, str] | None = None
    fallback: Fallback | None = None
    tag: str | None = None


def read(verb: Element) -> Verb:
    """Read and check one.

    Raises:
        ValueError: If Bandwidth would reject it, or if it is no verb; says what is wrong.
    """
    name = verb.tag
    tag = (verb.text or "").strip() if name == "Tag" else verb.get("tag")
    if name == "StartStream":
        return Verb(name, stream=start_stream.read(verb))
    if name == "StopStream":
        return _stop_stream(verb)
    if name in HANDS_ON:
        return Verb(name, math.inf, math.inf, tag=tag)
    if name in _INSTANT:
        return Verb(name, tag=tag)
    secs, heard_secs = _secs(verb)
    if name not in _ASKS:
        return Verb(name, secs, heard_secs)
    address, how, event = _ASKS[name]
    url = verb.get(address, "")
    if wrong := not_an_address(url, "http", "https", ""):
        raise ValueError(f"<{name}> {address} is no address: {wrong}")
    if name == "Redirect" and not url:
        raise ValueError("<Redirect> needs a redirectUrl")
    credentials = start_stream.credentials(verb, "username", "password")
    method = start_stream.method(verb, how)
    return Verb(
        name, secs, heard_secs, event=event if url else "", url=url, method=method,
        credentials=credentials, fallback=_fallback(verb, address), tag=tag,
    )  # fmt: skip


def _fallback(verb: Element, address: str) -> Fallback | None:
    """Where its event goes if ``address`` fails, if it says so."""
    prefix = address.removesuffix("Url") + "Fallback"
    start_stream.method(verb, prefix + "Method")
    start_stream.credentials(verb, "fallbackUsername", "fallbackPassword")
    if wrong := not_an_address(verb.get(prefix + "Url", ""), "http", "https", ""):
        raise ValueError(f"<{verb.tag}> {prefix}Url is no address: {wrong}")
    return Fallback.of(verb.attrib, prefix)


def _secs(verb: Element) -> tuple[float, float]:
    """How long a verb takes, and how long it is heard."""
    match verb.tag:
        case "Redirect":
            return 0.0, 0.0
        case "Pause":
            return _number(verb, "duration", 1, 0.1, 86400), 0.0
        case "Ring":
            secs = _number(verb, "duration", 5, 0.1, 86400)
        case "SpeakSentence":
            secs = _WORD_SECS * len("".join(verb.itertext()).split())
            if not secs:
                raise ValueError("<SpeakSentence> says nothing")
        case "PlayAudio":
            secs = _AUDIO_SECS
        case "SendDtmf":
            secs = _dtmf(verb)
        case "Gather":
            return _gather(verb)
        case "Record":
            longest = _number(verb, "maxDuration", 60, 1, 10800)
            silence = _number(verb, "silenceTimeout", 0, 0, 10800)
            return min(longest, silence or longest), 0.0
        case _:
            raise ValueError(f"<{verb.tag[:60]}> is no verb of BXML")
    return secs, secs


def _dtmf(verb: Element) -> float:
    digits = (verb.text or "").strip()
    if not 0 < len(digits) <= 50 or not set(digits) <= _DIGITS:
        raise ValueError(f"<SendDtmf> of {digits[:60]!r}, 1 to 50 keys are allowed")
    tone = _number(verb, "toneDuration", 200, 50, 5000) / 1000
    interval = _number(verb, "toneInterval", 400, 50, 5000) / 1000
    secs = 0.0
    for digit, after in zip(digits, digits[1:] + " ", strict=True):
        # A pause replaces the interval before it.
        secs += _PAUSES.get(digit, tone + (0.0 if after in _PAUSES else interval))
    return secs


def _gather(verb: Element) -> tuple[float, float]:
    if wrong := [child.tag for child in verb if child.tag not in _PROMPTS]:
        raise ValueError(f"<Gather> holds <SpeakSentence> and <PlayAudio>, not <{wrong[0][:60]}>")
    prompts = sum(_secs(child)[0] for child in verb)
    wait = _number(verb, "firstDigitTimeout", 5, 0, 60)
    times = _number(verb, "repeatCount", 1, 1, 20)
    if len(verb) * times > 20:
        raise ValueError(f"<Gather> of {len(verb) * times:.0f} prompts, at most 20 are allowed")
    secs = times * (prompts + wait)
    return secs, secs - wait if prompts else 0.0


def _stop_stream(verb: Element) -> Verb:
    name = verb.get("name")
    if name is None:
        raise ValueError("<StopStream> needs a name")
    wait = verb.get("wait", "false")
    if wait not in ("true", "false"):
        raise ValueError(f"<StopStream wait={wait[:60]!r}>, 'true' or 'false' is allowed")
    return Verb("StopStream", stops=name, waits=wait == "true")


def _number(verb: Element, attribute: str, default: float, low: float, high: float) -> float:
    text = verb.get(attribute, str(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ValueError(f"<{verb.tag} {attribute}={text[:60]!r}>, {low:g} to {high:g} are allowed")
    return value

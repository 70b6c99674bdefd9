"""What is written along the clock: events, underruns, findings and notes, as plain values.

Texts from a capture are a stranger's. Here they are cut to a reasonable length; the browser shows
them as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from workbench.call import Answer, Call
from workbench.call.stages import KINDS
from workbench.diagnosis import DETECTORS, Finding
from workbench.diagnosis.finding import SEVERITIES
from workbench.looks import SEVERITY_LOOKS, STAGE_LOOKS
from workbench.notes import Note

__all__ = ["clean", "marks", "noted"]

_LONGEST_TEXT: Final = 600

#: What lasts longer than this share of a call is about all of it.
_WHOLE: Final = 0.6

#: Words for an underrun: there is nothing to say of it but when it was.
_UNDERRUN: Final = "the far end's queue ran dry for {ms:.0f} ms inside an utterance"


def marks(
    call: Call, findings: Iterable[Finding] = (), answers: Iterable[Answer] = ()
) -> list[dict[str, Any]]:
    """Collect everything that has a time, in order.

    Args:
        call: The call.
        findings: From :func:`workbench.diagnosis.diagnose`.
        answers: Of the call, ``call.answers``.

    Returns:
        A dict for each, of JSON's types: ``row`` ("event", "underrun", "answer" or "finding"),
        ``kind``, ``title`` (of an event its kind), ``start`` and ``end`` in seconds, the ``parts`` in
        between as pairs of the same, ``text``; ``side`` (or None), of a finding ``severity``, its
        ``shape``, ``cause``, ``remedy``, the signal to ``listen`` to, its ``rank``, 0 for the worst,
        and whether it is about the ``whole`` call, and of an answer the
        ``colours`` and ``nouns`` of its parts, which are its stages.
    """
    found = [
        _mark("event", event.kind, [(event.time, event.time)], event.text)
        for event in call.events
        if event.kind != "pipeline" or event.text.startswith("error")  # the rest are stages
    ]
    found += [_answer(answer) for answer in answers]
    for hole in call.playout.underruns:
        text = _UNDERRUN.format(ms=1000 * (hole.end - hole.start))
        title = DETECTORS["underrun"].title
        place = [(hole.start, hole.end)]
        found.append(_mark("underrun", "underrun", place, text, title=title, side="bot"))
    for rank, finding in enumerate(sorted(findings, key=lambda f: SEVERITIES.index(f.severity))):
        found.append(
            _mark(
                "finding",
                finding.kind,
                [part[:2] for part in finding.parts],
                "; ".join(filter(None, (finding.measurement, finding.words))),
                title=clean(finding.title),
                side=finding.side,
                severity=finding.severity,
                shape=SEVERITY_LOOKS[finding.severity].mark,
                cause=clean(finding.cause),
                remedy=clean(finding.remedy),
                listen=finding.listen,
                rank=rank,
                whole=_is_of_the_whole(finding, call.duration),
            )
        )
    return sorted(found, key=lambda mark: (mark["start"], mark["end"]))


def noted(notes: Iterable[Note]) -> list[dict[str, Any]]:
    """A person's notes as marks of the ``row`` "note", with ``id`` and the ``written`` text whole."""
    return [
        _mark("note", "note", [(note.start, note.end)], note.text, id=note.id, written=note.text)
        for note in notes
    ]


def _is_of_the_whole(finding: Finding, duration: float) -> bool:
    """Whether it is everywhere, so that there is no place to go to."""
    return any(part.end - part.start > _WHOLE * duration for part in finding.parts)


def _answer(answer: Answer) -> dict[str, Any]:
    """The wait before an answer, its stages as parts."""
    text = "; ".join([str(answer), *map(str, answer.stages)])
    return _mark(
        "answer",
        "answer",
        [(stage.start, stage.end) for stage in answer.stages],
        f"{answer.outcome} after {text}",
        side="bot",
        colours=[STAGE_LOOKS[stage.name][0] for stage in answer.stages],
        nouns=[clean(KINDS[stage.name].noun) for stage in answer.stages],
    )


def _mark(
    row: str,
    kind: str,
    places: Iterable[tuple[float, float]],
    text: str,
    **more: str | float | list[str] | None,
) -> dict[str, Any]:
    parts = [[float(start), max(float(start), float(end))] for start, end in places]
    when = {"start": parts[0][0], "end": max(end for _, end in parts), "parts": parts}
    said = {"kind": clean(kind), "title": clean(kind), "text": clean(text)}
    return {"row": row, **said, **when, "side": None, **more}


def clean(text: str) -> str:
    """A stranger's text as one line of printable characters, not too long."""
    line = " ".join(str(text)[: 2 * _LONGEST_TEXT].split())
    line = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line
    )
    return (
        line
        if len(line) <= _LONGEST_TEXT
        else line[: _LONGEST_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )

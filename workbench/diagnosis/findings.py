"""The findings of one call: a value that says, as text and as a table, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, overload

from workbench.diagnosis.baseline import Change
from workbench.diagnosis.coverage import Unjudged, in_words
from workbench.diagnosis.detectors import DETECTORS
from workbench.diagnosis.finding import SEVERITIES, Finding, Severity
from workbench.looks import SEVERITY_LOOKS

__all__ = ["Findings"]


@dataclass(frozen=True, repr=False)
class Findings(Sequence[Finding]):
    """Findings of one call, worst first: a sequence that never changes and shows itself.

    Parameters:
        found: Worst first.
        changes: Against the baseline that was given to ``diagnose``; ``None`` without one.
        is_silent: Whether the call had no audio to find anything in, of either side.
        is_whole: Whether they are all there is to find; a selection cannot call the call sound.
        unjudged: What could not be judged; with any the call cannot be called sound.
    """

    found: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] | None = None
    is_silent: bool = False
    is_whole: bool = True
    unjudged: tuple[Unjudged, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", tuple(self.found))

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Findings: ...
    def __getitem__(self, index: int | slice) -> Finding | Findings:
        """One of them, or a selection."""
        if isinstance(index, slice):
            return self._selected(self.found[index])
        return self.found[index]

    def of(self, *kinds: str) -> Findings:
        """Those of some kinds."""
        return self._selected(tuple(finding for finding in self if finding.kind in kinds))

    @property
    def silenced(self) -> tuple[Finding, ...]:
        """What follows from others, and is told with its cause only."""
        return tuple(follower for finding in self for follower in finding.followers)

    def failures(self, fail_on: Severity = "warning") -> Findings:
        """Those that shall fail a release.

        Args:
            fail_on: How bad a finding must at least be.

        Returns:
            All that are so bad; with a baseline only those that are new or got worse.
        """
        bad = [f for f in self if SEVERITIES.index(f.severity) <= SEVERITIES.index(fail_on)]
        if self.changes is not None:
            worse = {(c.kind, c.side) for c in self.changes if c.verdict in ("new", "worse")}
            bad = [finding for finding in bad if (finding.kind, finding.side) in worse]
        return self._selected(tuple(bad))

    def _selected(self, found: tuple[Finding, ...]) -> Findings:
        return replace(self, found=found, changes=None, is_whole=False)

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        serious = [finding for finding in self if finding.severity != "info"]
        if serious:
            return f"The worst of this call: {_first_of(serious)}."
        if self.is_silent:
            return "Nothing can be said of this call: the capture holds no audio of either side."
        small = [finding for finding in self if finding.listen]
        if small:
            where = "this call" if self.is_whole else "what was looked at"
            return f"Only small things were found in {where}: {_first_of(small)}."
        if not self.is_whole:
            return "Of what was looked for, nothing was found that can be heard."
        if self.unjudged:
            return f"No fault that can be heard was found in what could be judged; {in_words(self.unjudged)}."
        return f"This call is sound: of {len(DETECTORS)} kinds of fault none was found that can be heard."

    @property
    def not_judged(self) -> str:
        """What could not be judged, where the sentence does not say so; else empty."""
        words = in_words(self.unjudged) if self.is_whole else ""
        return "" if not words or words in self.sentence else f"Not judged: {words}."

    def advice(self) -> Iterator[tuple[str, str]]:
        """Cause and remedy of each; of what was said before, only where that was."""
        said: dict[str, str] = {}
        above: tuple[str, ...] = ()
        for finding in self:
            told = finding.cause, finding.remedy
            here = (
                "as above" if text in above else f"as at {said[text]}" if text in said else text
                for text in told
            )
            yield next(here), next(here)
            said = {text: finding.when for text in told} | said
            above = told

    def as_dict(self) -> dict[str, Any]:
        """All that is known of them, of JSON's types."""
        return {
            "sentence": self.sentence,
            "findings": [finding.as_dict() for finding in self],
            "unjudged": [row._asdict() for row in self.unjudged],
        }

    def __repr__(self) -> str:
        kinds = ", ".join(finding.kind for finding in self)
        return f"<Findings: {kinds or 'none'}>"

    def __str__(self) -> str:
        lines = [self.sentence, *map(str, self), *([self.not_judged] if self.not_judged else [])]
        if self.changes is not None:
            lines += ["Against the baseline:", *(map(str, self.changes) if self.changes else ["-"])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [_finding(f, advice) for f, advice in zip(self, self.advice(), strict=True)]
        table = ""
        if rows:
            head = _row("th", "how bad", "when", "what and how much", "why", "what to change")
            table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
        against = ""
        if self.changes is not None:
            told = "".join(f"<li>{escape(str(change))}</li>" for change in self.changes)
            against = f"<p>Against the baseline:</p><ul>{told or '<li>nothing changed</li>'}</ul>"
        rest = f"<p>{escape(self.not_judged)}</p>" if self.not_judged else ""
        return f"<p><b>{escape(self.sentence)}</b></p>{table}{rest}{against}"


def _first_of(found: Sequence[Finding]) -> str:
    """The first of some findings, and how many more there are."""
    rest = len(found) - 1
    more = f"; and {rest} more finding{'s' * (rest > 1)}" if rest else ""
    return f"{found[0].measurement}{more}"


def _finding(finding: Finding, advice: tuple[str, str]) -> str:
    look = SEVERITY_LOOKS[finding.severity].day
    badge = (
        f"<b style='background:{look.paper};color:{look.ink};"
        f"padding:1px 6px;border-radius:3px'>{finding.severity}</b>"
    )
    side = f" ({finding.side})" if finding.side else ""
    kind = f"<code style='font-size:smaller;opacity:.75'>{escape(finding.kind)}</code>"
    what = f"<b>{escape(finding.title)}</b>{side} {kind}<br>{escape(finding.told)}"
    return _row("td", badge, finding.when, what, *map(escape, advice))


def _row(cell: str, *texts: str) -> str:
    style = "text-align:left;vertical-align:top"
    return f"<tr>{''.join(f'<{cell} style={style!r}>{text}</{cell}>' for text in texts)}</tr>"

"""Many calls: which were bad, what was wrong with them, and when it began."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd

from workbench.diagnosis.finding import SEVERITIES, Severity
from workbench.diagnosis.harm import HEARD

if TYPE_CHECKING:
    from workbench.surveys.groups import Changes

__all__ = ["LABEL", "Step", "Survey"]

Step: TypeAlias = Literal["hour", "day"]
_STEPS: Final[dict[Step, str]] = {"hour": "h", "day": "D"}
#: What the columns begin with that hold labels.
LABEL: Final = "label_"


@dataclass(frozen=True, eq=False, repr=False)
class Survey:
    """What is known of many calls.

    A call's *harm* is that of its worst finding (:mod:`workbench.diagnosis.harm`): at 2000 begins
    what spoils the conversation, at 1000 what is heard; 0 is a call in which nothing was found.

    Parameters:
        calls: One row a call in order of time: :data:`workbench.surveys.row.CALL`, and a column
            ``label_...`` for each label.
        findings: One row a finding: :data:`workbench.surveys.row.FINDING` with ``capture``,
            ``started_at`` of its call, and its ``number`` in it.
        skipped: Captures that could not be used, and why.
        recording: Captures that are still being recorded.
        older: How many captures were not looked at, as they had ended by the time asked for.
        opened: How many were opened this time.
        known: How many were in the data set already.
    """

    calls: pd.DataFrame
    findings: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)
    recording: tuple[str, ...] = ()
    older: int = 0
    opened: int = 0
    known: int = 0

    def __len__(self) -> int:
        return len(self.calls)

    @property
    def labels(self) -> list[str]:
        """Names of the labels that any call has."""
        return [c.removeprefix(LABEL) for c in self.calls.columns if c.startswith(LABEL)]

    def worst(self, count: int = 10) -> pd.DataFrame:
        """The calls that do most harm, worst first; those in which nothing was found are left out."""
        bad = self.calls[self.calls["harm"] > 0]
        return bad.sort_values(["harm", "started_at"], ascending=[False, True]).head(count)

    def failures(self, fail_on: Severity = "warning") -> pd.DataFrame:
        """The calls with a finding that is at least so bad, worst first."""
        counted = [f"{one}s" for one in SEVERITIES[: SEVERITIES.index(fail_on) + 1]]
        bad = self.calls[self.calls[counted].sum(axis=1) > 0]
        return bad.sort_values(["harm", "started_at"], ascending=[False, True])

    @property
    def kinds(self) -> pd.DataFrame:
        """One row a kind of finding, that of most calls first.

        Columns ``kind``, ``title``, ``severity`` (the worst), ``calls`` that have it, ``percent``
        of all calls, ``errors``: calls in which it is one, ``findings``, and ``worst``: the capture
        in which it does most harm.
        """
        columns = ["kind", "title", "severity", "calls", "percent", "errors", "findings", "worst"]
        rows = []
        for kind, found in self.findings.groupby("kind", sort=False):
            most = found.iloc[int(found["harm"].argmax())]
            calls = found["capture"].nunique()
            errors = found.loc[found["severity"] == "error", "capture"].nunique()
            share = 100 * calls / max(1, len(self))
            rows.append((kind, most["title"], most["severity"], calls, share, errors, len(found),
                         most["capture"], most["harm"]))  # fmt: skip
        frame = pd.DataFrame(rows, columns=[*columns, "harm"])
        order = frame.sort_values(["calls", "harm"], ascending=False, ignore_index=True)
        return order[columns]

    def trend(self, step: Step = "day") -> pd.DataFrame:
        """One row an hour or a day (UTC) on which calls began, in order.

        Columns ``calls``; ``bad_percent`` in which something is heard or worse (harm of 1000 and
        more); ``error_percent``; ``holes_per_min`` of the bot's speech; ``answer_p50_ms``, the
        median of the calls' medians; ``loss_percent`` of the caller's messages.
        """
        calls = self.calls
        by = calls.groupby(calls["started_at"].dt.floor(_STEPS[step]).rename(step))
        sums = (
            by[["holes", "bot_speech_secs", "inbound_messages", "lost_messages"]]
            .sum()
            .astype(float)
        )
        sent = sums["inbound_messages"] + sums["lost_messages"]
        return pd.DataFrame(
            {
                "calls": by.size(),
                "bad_percent": 100 * by["harm"].agg(_share_heard),
                "error_percent": 100 * by["errors"].agg(_share_any),
                "holes_per_min": 60 * sums["holes"] / sums["bot_speech_secs"].replace(0, np.nan),
                "answer_p50_ms": by["answer_p50_ms"].median(),
                "loss_percent": 100 * sums["lost_messages"] / sent.replace(0, np.nan),
            }
        ).astype({"calls": int})

    def trend_rows(self, step: Step = "day") -> list[dict[str, Any]]:
        """The same, of JSON's types."""
        return _records(self.trend(step).reset_index())

    def by(self, label: str, *, seed: int = 0) -> Changes:
        """Tell what differs between the calls of different labels: :mod:`workbench.surveys.groups`.

        Args:
            label: Name of the label, such as ``release``.
            seed: Of the resampling.

        Raises:
            ValueError: If no call has such a label.
        """
        from workbench.surveys.groups import changes  # which needs SciPy, and this class

        return changes(self, label, seed=seed)

    @property
    def sentence(self) -> str:
        """How many calls, how many of them bad, and what could not be told."""
        if not len(self):
            return " ".join(["No calls to tell of.", *self._left])
        first, last = self.calls["started_at"].min(), self.calls["started_at"].max()
        when = f"on {first:%Y-%m-%d}" if first.date() == last.date() else (
            f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
        )  # fmt: skip
        errors, heard = len(self.failures("error")), len(self.failures("warning"))
        told = f"{_calls(len(self))} {when} (UTC)"
        if not heard:
            told += ": no warning and no error in any of them."
        else:
            told += (
                f": in {heard} ({_percent(heard, len(self))}) something is heard that should not "
                f"be, in {errors} of them ({_percent(errors, len(self))}) it spoils the conversation."
            )
        return " ".join([told, *self._left])

    @property
    def _left(self) -> list[str]:
        """What was not looked at, and why."""
        told = []
        if self.skipped:
            told.append(f"{_captures(len(self.skipped))} not usable.")
        if self.recording:
            told.append(f"{_captures(len(self.recording))} still recorded, left for next time.")
        if self.known:
            told.append(f"{_captures(self.known)} known already, {self.opened} opened.")
        return told

    def as_dict(self) -> dict[str, Any]:
        """All that is told of them, of JSON's types; missing values are ``None``."""
        return {
            "sentence": self.sentence,
            "calls": _records(self.calls),
            "findings": _records(self.findings),
            "kinds": _records(self.kinds),
            "skipped": self.skipped,
            "recording": list(self.recording),
            "older": self.older,
            "opened": self.opened,
            "known": self.known,
        }

    def __repr__(self) -> str:
        shown = self.worst()[["started_at", "harm", "worst_kind", "capture"]]
        return "\n\n".join([self.sentence, *([shown.to_string(index=False)] if len(shown) else [])])

    def _repr_html_(self) -> str:
        kinds = self.kinds.to_html(index=False, border=0, float_format="{:.1f}".format)
        columns = ["started_at", "duration", "harm", "worst_kind", "worst", "capture"]
        worst = self.worst()[columns].to_html(index=False, border=0, float_format="{:.0f}".format)
        return f"<p><b>{self.sentence}</b></p>{worst}{kinds}"


def _share_heard(harm: pd.Series[float]) -> float:
    return float((harm >= HEARD).mean())


def _share_any(count: pd.Series[int]) -> float:
    return float((count > 0).mean())


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"


def _captures(number: int) -> str:
    return f"{number:,} capture{' was' if number == 1 else 's were'}"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    text = frame.to_json(orient="records", date_format="iso", date_unit="us")
    records: list[dict[str, Any]] = json.loads(text or "[]")
    return records

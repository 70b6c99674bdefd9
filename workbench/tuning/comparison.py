"""The same speech through every outbound setting and far leg, in numbers, words and sound.

Conventions:
    The reference is what the bot said, as the pipeline produced it. Each setting is a pass through
    the real serializer, each leg a model of what lies beyond Bandwidth: an assumption, which is
    printed with every table and picture. All signals are brought to 16 kHz, or to the reference's
    own rate where that is lower; what is compared is speech, at one level, in step. Distances are
    measured segment by segment (:mod:`workbench.metrics.segments`), as
    :mod:`workbench.tuning.tuning` does, and the table has their mean.

    Two legs are compared by default: G.711, which nearly every telephone call comes down to, and
    G.722, the wideband leg of the same network. Their answers hold for the others, which can be
    asked for by name: GSM is narrowband like the first, Opus is wideband like the second.

Columns of the table:
    ===================== ==========================================================================
    ``setting``, ``leg``  What was tried.
    ``active_level_dbov`` Level of the speech as heard (ITU-T P.56).
    ``loudness_lufs``     The same, as broadcasting measures it (ITU-R BS.1770).
    ``peak_dbov``         Its largest sample.
    ``bandwidth_hz``      Up to where there is anything to hear.
    ``damage_percent``    Of the loudness, changed in the telephone band beyond what the voice masks.
    ``missing_percent``   Of the loudness, missing above that band, or other than it was.
    ``lsd_db``            Spectral distance to the reference, 100 to 3400 Hz, dB: less is better.
    ``lsd_wide_db``       The same to 7000 Hz; NaN if the bot's own rate does not reach there.
    ``seg_snr_db``        Segmental SNR in the telephone band, dB, at most 35.
    ``si_sdr_db``         Signal to distortion ratio in the telephone band, dB, level left out.
    ``estoi``             Predicted intelligibility, at most 1.
    ``first_audio_ms``    What the serializer adds to the first sound.
    ``delay_ms``          What it adds to all of it.
    ``conserved_percent``     How much of the audio came out of it.
    ``kbit_s``            On the wire, for each second of audio, JSON and base64 included.
    ``cpu_us_per_s``      CPU of the serializer for each second of audio; depends on the machine.
    ===================== ==========================================================================
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from html import escape
from itertools import repeat
from typing import Any, Final, NamedTuple, SupportsFloat, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench import mapped
from workbench.audio import Audio
from workbench.call import Call
from workbench.exceptions import MetricWarning
from workbench.metrics import levels, segments, spectra, speech_level
from workbench.metrics.alignment import align
from workbench.metrics.distances import evaluate_aligned
from workbench.tuning import carrier_recording
from workbench.tuning.carrier_recording import MeasuredLeg
from workbench.tuning.cushion import MOST_MS
from workbench.tuning.legs import Leg, legs_named
from workbench.tuning.sentences import assumption, conclusion, on_recording
from workbench.tuning.settings import SETTINGS, Setting, distinct
from workbench.tuning.trial import Spoken, Trial, run_trials, scored
from workbench.tuning.voice import Source

__all__ = ["LEGEND", "RECORDED", "SETTINGS", "Comparison", "Setting", "compare"]

#: What the speech as heard is by itself.
_LEVELS: Final[dict[str, Callable[[Audio], float]]] = {
    "active_level_dbov": speech_level.active_level,
    "loudness_lufs": levels.loudness,
    "peak_dbov": levels.peak,
    "bandwidth_hz": spectra.effective_bandwidth,
}

#: How far it is from the reference: means over the segments.
DISTANCES: Final = (
    *("damage_percent", "missing_percent", "lsd_db", "lsd_wide_db"),
    *("seg_snr_db", "si_sdr_db", "estoi"),
)

#: All columns but those of the user's own metrics.
_MEASURED: Final = (
    *("setting", "leg", *_LEVELS, *DISTANCES),
    *("first_audio_ms", "delay_ms", "conserved_percent", "kbit_s", "cpu_us_per_s"),
)

#: What people read first: how it is headed, and its decimals.
_BRIEFLY: Final = {
    "leg": ("far leg", 0),
    "setting": ("setting", 0),
    "bandwidth_hz": ("reaches (Hz)", 0),
    "damage_percent": ("damage (%)", 1),
    "missing_percent": ("missing (%)", 1),
    "seg_snr_db": ("segSNR (dB)", 2),
    "estoi": ("ESTOI", 3),
    "delay_ms": ("delay (ms)", 1),
    "kbit_s": ("kbit/s", 0),
}

#: What those headings mean.
LEGEND: Final = (
    "damage, missing: of the loudness of what the bot said, up to 3.4 kHz and above, less is "
    "better. segSNR: speech over error in the telephone band, at most 35; ESTOI: predicted "
    "intelligibility, at most 1; of both, more is better. kbit/s: on the wire while the bot speaks."
)

#: What the carrier's recording is called beside the call's signals.
RECORDED: Final = "recorded by the carrier"
#: Lengths of the excerpts that pictures show and reports let hear, in seconds.
EXCERPT_SECS: Final = (4.0, 5.0)

#: So much speech is kept as it is heard on every leg; of more, that is made when it is asked for.
_WHOLE_SECS: Final = 900.0

#: A number, or an :class:`workbench.metrics.opinions.Opinion` that may say why there is none.
Metric = Callable[[Audio, Audio], SupportsFloat]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome.

    Parameters:
        table: One row for each leg and setting; the columns are those of this module's docstring.
        scores: The distances one by one: ``leg``, ``setting``, ``segment`` and a column for each.
        signals: What the caller hears, by setting and leg, all in step with ``reference``; of more
            than 15 minutes of speech each is made when it is asked for.
        reference: What the bot said, one frame behind the other.
        sentences: The outcome in words: one for each leg, and any remarks.
        assumption: What was assumed of the far end, or measured.
        measured: What a carrier's recording shows of it, when there was one.
        recorded: ``bandwidth_hz``, ``lsd_db`` and ``estoi`` of that recording itself.
        holes: Of a call with holes, to tell fault and cure apart by ear: ``bot_intact``, what the bot
            said without any waiting, and ``cushion of 200 ms``, what the caller would have heard with
            one. On the call's clock, as ``caller_heard`` is.
        excerpts: What :meth:`excerpt` gives out, by setting and leg, and by start and end in seconds.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    signals: Mapping[tuple[str, str], Audio]
    reference: Audio
    sentences: tuple[str, ...]
    assumption: str
    measured: MeasuredLeg | None = None
    recorded: dict[str, float] = field(default_factory=dict)
    holes: dict[str, Audio] = field(default_factory=dict)
    excerpts: dict[tuple[str, str], dict[tuple[float, float], Audio]] = field(default_factory=dict)

    def excerpt(self, setting: str, leg: str, secs: float) -> Audio:
        """What the caller hears of the stretch in which the speech is loudest.

        Args:
            setting: Label of a setting.
            leg: Name of a far leg.
            secs: Length of the stretch; those of :data:`EXCERPT_SECS` are known of every call.

        Returns:
            In step with the same stretch of ``reference``.

        Raises:
            KeyError: For a setting or a leg that was not compared.
        """
        span = levels.loudest_span(self.reference, secs)
        known = self.excerpts.get((setting, leg), {}).get(span)
        return self.signals[setting, leg].span(*span) if known is None else known

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        return " ".join(self.sentences)

    @property
    def beside(self) -> dict[str, Audio]:
        """What else there is to hear on the call's clock: ``holes``, and the carrier's recording."""
        if self.measured is None:
            return self.holes
        return {**self.holes, RECORDED: self.measured.heard}

    @property
    def brief(self) -> pd.DataFrame:
        """The columns of ``table`` that people read first, headed in words."""
        own = [name for name in self.table.columns if name not in _MEASURED]
        headings = {name: heading for name, (heading, _) in _BRIEFLY.items()}
        return self.table[[*_BRIEFLY, *own]].rename(columns=headings)

    @property
    def shown(self) -> pd.DataFrame:
        """``brief`` as text: the same decimals all down a column, "-" where there is no number."""
        decimals: dict[Hashable, int] = dict(_BRIEFLY.values())
        brief = self.brief
        columns = (
            [_text(cell, decimals.get(heading, 3)) for cell in column]
            for heading, column in brief.items()  # a metric of the user's may have the same heading
        )
        return pd.DataFrame(dict(enumerate(columns))).set_axis(brief.columns, axis="columns")

    def margin(self, metric: str) -> pd.Series[float]:
        """Half of the 95 % interval of a distance's mean.

        It is :func:`workbench.metrics.segments.margin` of each row. The segments are the same in
        every row, so two intervals that overlap do not say that two settings tie:
        :func:`workbench.tuning.tuning.tune` compares them segment by segment.

        Args:
            metric: One of :data:`DISTANCES`, such as ``damage_percent`` or ``lsd_db``.

        Returns:
            One for each row of ``table``; NaN for fewer than three segments.

        Raises:
            ValueError: For another name.
        """
        if metric not in DISTANCES:
            raise ValueError(f"no distance {metric!r}, there are: {', '.join(DISTANCES)}")
        cells = {
            key: rows.to_numpy() for key, rows in self.scores.groupby(["leg", "setting"])[metric]
        }
        none = np.empty(0)
        rows = zip(self.table["leg"], self.table["setting"], strict=True)
        margins = [segments.margin(cells.get(row, none)) for row in rows]
        return pd.Series(margins, index=self.table.index, name=metric)

    def sounds(self, *settings: str, leg: str) -> dict[str, Audio]:
        """Take out what to compare by ear: see :mod:`workbench.timeline.blind_test`.

        Args:
            settings: Labels of settings; all by default.
            leg: The far leg.

        Returns:
            What the caller hears, by setting, in step with each other.

        Raises:
            ValueError: For a setting or a leg that was not compared.
        """
        heard = {setting: (setting, far) for setting, far in self.signals if far == leg}
        if not heard:
            legs = dict.fromkeys(far for _, far in self.signals)
            raise ValueError(f"no far leg {leg!r} in this comparison, there are: {', '.join(legs)}")
        for setting in settings:
            if setting not in heard:
                raise ValueError(
                    f"no setting {setting!r} in this comparison, there are: {', '.join(heard)}"
                )
        return {setting: self.signals[heard[setting]] for setting in settings or heard}

    def __str__(self) -> str:
        shown = self.shown
        # The unit below the name, so that 80 columns are enough.
        shown.columns = pd.MultiIndex.from_tuples(
            [
                (name, f"({unit}" if unit else "")
                for name, _, unit in (str(heading).partition(" (") for heading in shown)
            ]
        )
        numbers = shown.to_string(index=False, sparsify=False)
        return f"{numbers}\n\n{LEGEND}\n\n{self.sentence}\n\n{self.assumption}"

    def __repr__(self) -> str:
        settings, legs = (self.table[name].nunique() for name in ("setting", "leg"))
        return f"Comparison({settings} settings, {legs} legs, {self.reference.duration:.1f} s)"

    def _repr_html_(self) -> str:
        table = self.shown.to_html(index=False, border=0)
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        small = "".join(
            f"<p><small>{escape(text)}</small></p>" for text in (LEGEND, self.assumption)
        )
        return f"{table}{said}{small}"


def compare(
    call: Source,
    settings: Iterable[Setting] | None = None,
    legs: str | Leg | Iterable[str | Leg] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    *,
    recording: Audio | Sequence[Audio] | MeasuredLeg | None = None,
    executor: Executor | None = None,
) -> Comparison:
    """Send a call's outbound audio through several settings and far legs, and measure.

    Args:
        call: A call, the frames it gave to ``serialize``, or any audio of speech.
        settings: What to try; by default PCMU and PCM at 8, 16 and 24 kHz.
        legs: One or several names of :data:`workbench.tuning.legs.LEGS`, or legs of your own; by
            default the one that ``recording`` shows, or G.711 if it shows none; without a recording
            G.711 and G.722.
        metrics: Further columns: a function of (reference, degraded) for each name.
        recording: The carrier's recording of the bot's channel
            (:func:`workbench.tuning.carrier_recording.read`), or several files of this one call.
        executor: Where the settings are tried, side by side; threads by default.

    Raises:
        TypeError: For a path; :meth:`workbench.call.Call.open` reads it.
        ValueError: If the bot said nothing, a leg is not known, two settings are one, or the
            recording does not hold what the bot sent; and for a call of another carrier's
            serializer.
    """
    if isinstance(call, Call):
        call.check_ours("compare")
    tried = distinct(settings or SETTINGS)
    spoken = Spoken(call)
    measured = None if recording is None else carrier_recording.measured(call, recording)
    shown = ["G.711", "G.722"] if measured is None else [measured.stands_for or "G.711"]
    far = legs_named(legs or shown)
    own = dict(metrics or {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # the table shows the NaN, a sentence why
        if executor is None:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                cells = _side_by_side(threads, spoken, tried, far, own)
        else:
            work = repeat(spoken), tried, repeat(far), repeat(own)
            cells = [cell for group in executor.map(_cells, *work) for cell in group]
    cells.sort(key=lambda cell: [leg.name for leg in far].index(cell.leg))
    missing = _missing([cell.row for cell in cells], metrics or ())
    table = pd.DataFrame([cell.row for cell in cells])
    reference = spoken.said.audio
    sentences = [*conclusion(table, far, reference), *missing]
    recorded = {}
    if measured is not None:
        recorded = _recorded(call, measured)
        sentences = [measured.sentence, on_recording(recorded), *sentences]
    return Comparison(
        table=table,
        scores=pd.DataFrame(
            [score for cell in cells for score in cell.scores],
            columns=["leg", "setting", "segment", *DISTANCES],
        ),
        signals=_Heard(
            spoken,
            tried,
            far,
            {(cell.setting, cell.leg): cell.heard for cell in cells if cell.heard is not None},
        ),
        excerpts={(cell.setting, cell.leg): cell.excerpts for cell in cells},
        reference=reference,
        sentences=tuple(sentences),
        assumption=assumption(far, measured),
        measured=measured,
        recorded=recorded,
        holes=_without_holes(call),
    )


def _without_holes(call: Source) -> dict[str, Audio]:
    if not isinstance(call, Call) or not call.playout.underruns:
        return {}
    return {
        "bot_intact": call.bot_intact,
        f"cushion of {MOST_MS} ms": call.with_cushion(MOST_MS),
    }


class _Cell(NamedTuple):
    """One setting on one leg: what is heard of it, its row of the table, its segments' distances.

    What is heard is there as a whole only of a call that is not long.
    """

    setting: str
    leg: str
    heard: Audio | None
    excerpts: dict[tuple[float, float], Audio]
    row: dict[str, Any]
    scores: list[dict[str, Any]]


def _cells(
    spoken: Spoken, setting: Setting, legs: Sequence[Leg], metrics: Mapping[str, Metric]
) -> list[_Cell]:
    """One setting on all legs."""
    trials = run_trials(spoken, setting, legs)
    rows = [scored(trials, span, DISTANCES) for span in spoken.segments]
    return [_cell(trial, [row[k] for row in rows], metrics) for k, trial in enumerate(trials)]


def _side_by_side(
    threads: Executor,
    spoken: Spoken,
    settings: Sequence[Setting],
    legs: Sequence[Leg],
    metrics: Mapping[str, Metric],
) -> list[_Cell]:
    """All settings on all legs: first what is heard of each, then segment by segment all of them.

    What is known of a segment of the reference is known once, and forgotten with the segment.
    """
    _ = spoken.segments  # known before threads ask for it
    run = partial(run_trials, spoken, legs=legs)
    trials = [trial for some in threads.map(run, settings) for trial in some]
    rows = list(threads.map(partial(scored, trials, metrics=DISTANCES), spoken.segments))
    scores = ([row[number] for row in rows] for number in range(len(trials)))
    return list(threads.map(_cell, trials, scores, repeat(metrics)))


class _Heard(Mapping[tuple[str, str], Audio]):
    """What the caller hears, by setting and leg.

    That of a long call is made when it is asked for, the same each time: of an hour there would be
    gigabytes, of which hardly more than an excerpt is looked at.
    """

    def __init__(
        self,
        spoken: Spoken,
        settings: Sequence[Setting],
        legs: Sequence[Leg],
        known: dict[tuple[str, str], Audio],
    ) -> None:
        self._spoken = spoken
        self._settings = {setting.label: setting for setting in settings}
        self._legs = {leg.name: leg for leg in legs}
        self._known = known

    def __getitem__(self, cell: tuple[str, str]) -> Audio:
        if cell not in self:
            raise KeyError(cell)
        if cell not in self._known:
            (trial,) = run_trials(self._spoken, self._settings[cell[0]], [self._legs[cell[1]]])
            self._known[cell] = trial.heard
        return self._known[cell]

    def __contains__(self, cell: object) -> bool:
        return cell in list(self)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((setting, leg) for leg in self._legs for setting in self._settings)

    def __len__(self) -> int:
        return len(self._settings) * len(self._legs)


def _recorded(call: Source, measured: MeasuredLeg) -> dict[str, float]:
    """What became of the bot's voice on the recording itself."""
    said = call if isinstance(call, Audio) else _played(cast("Call", call))
    in_step = measured.heard if measured.in_step is None else measured.in_step
    said, heard = (
        _spans(audio.resampled(in_step.sample_rate), measured.recorded) for audio in (said, in_step)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        _, reference, degraded = align(said, heard)
        return evaluate_aligned(reference, degraded, ("bandwidth_hz", "lsd_db", "estoi"))


def _spans(audio: Audio, intervals: NDArray[np.float64]) -> Audio:
    parts = [audio.span(start, end).samples for start, end in intervals.tolist()]
    return Audio(np.concatenate(parts), audio.sample_rate)


def _played(call: Call) -> Audio:
    """The bot on the call's clock, without what an interruption cut off."""
    said = call.bot_said
    kept = np.zeros(len(said.samples), np.float32)
    for start, heard in zip(call.playout.start.tolist(), call.playout.heard.tolist(), strict=True):
        if heard > 0:
            span = slice(*(max(0, round(t * said.sample_rate)) for t in (start, start + heard)))
            kept[span] = said.samples[span]
    return Audio(kept, said.sample_rate)


def _cell(trial: Trial, scores: Sequence[dict[str, float]], metrics: Mapping[str, Metric]) -> _Cell:
    names = {"setting": trial.setting.label, "leg": trial.leg.name}
    quality: dict[str, SupportsFloat] = dict.fromkeys([*_LEVELS, *DISTANCES, *metrics], np.nan)
    if scores:
        quality |= {name: level(trial.degraded) for name, level in _LEVELS.items()}
        quality |= {name: _mean([score[name] for score in scores]) for name in DISTANCES}
        quality |= {n: metric(trial.reference, trial.degraded) for n, metric in metrics.items()}
    passed = trial.resent
    row = {
        **names,
        **quality,
        "first_audio_ms": passed.first_audio_ms,
        "delay_ms": passed.delay_ms,
        "conserved_percent": 100 * passed.conserved_ms / passed.said_ms,
        "kbit_s": passed.kbit_s,
        "cpu_us_per_s": passed.cpu_us_per_s,
    }
    numbered = [{**names, "segment": k, **score} for k, score in enumerate(scores)]
    return _Cell(
        trial.setting.label,
        trial.leg.name,
        trial.heard if trial.heard.duration <= _WHOLE_SECS else None,
        {span: _copied(trial.heard.span(*span)) for span in _loudest(trial.spoken.said.audio)},
        row,
        numbered,
    )


def _loudest(reference: Audio) -> list[tuple[float, float]]:
    return [levels.loudest_span(reference, secs) for secs in EXCERPT_SECS]


def _copied(audio: Audio) -> Audio:
    """The same without what it was cut out of."""
    copied = audio.samples.copy()
    mapped.let_go(audio.samples)
    return Audio(copied, audio.sample_rate)


def _mean(scores: Sequence[float]) -> float:
    """Over the segments that have a score."""
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else float("nan")


def _missing(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> list[str]:
    """Turn the metrics given into numbers, and say why some have none."""
    sentences: dict[str, str] = {}
    for row in rows:
        for name in names:
            reason = getattr(row[name], "reason", "")
            row[name] = float(row[name])
            if reason:
                sentences.setdefault(name, f"{name} is not available: {reason}.")
    return list(sentences.values())


def _text(cell: object, decimals: int) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return "-" if np.isnan(cell) else f"{cell:.{decimals}f}"

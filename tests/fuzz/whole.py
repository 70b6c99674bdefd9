"""One file through all that the workbench makes of it."""

from __future__ import annotations

import tempfile
import warnings
from io import StringIO
from pathlib import Path
from typing import Final

from tests.fuzz.isolated import doing
from workbench.audio import Audio
from workbench.call import Call
from workbench.call.replay import replay
from workbench.diagnosis import diagnose
from workbench.exceptions import NotForCarrier, NothingSaid, WorkbenchError
from workbench.exports import export
from workbench.report import write_report
from workbench.terminal import print_findings, print_summary
from workbench.tuning.comparison import Comparison, compare

#: What any file may be answered with, in one line.
LINES: Final = (WorkbenchError,)


def of_capture(path: Path, *, is_compared: bool = True, is_reported: bool = True) -> str:
    """Open, summary, diagnosis, comparison, replay, report and exports, as the commands do it."""
    from rich.console import Console

    out = Console(file=StringIO(), highlight=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        doing("open")
        call = Call.open(path)
        doing("summary")
        print_summary(out, call.summary())
        call._repr_html_()
        doing("diagnose")
        found = diagnose(call)
        print_findings(out, found)
        comparison: Comparison | None = None
        if is_compared:
            doing("compare")
            try:
                comparison = compare(call)
            except (NothingSaid, NotForCarrier):
                pass
        doing("replay")
        if call.carrier.is_ours:
            str(replay(call))
        with tempfile.TemporaryDirectory() as folder:
            if is_reported:
                doing("report")
                write_report(Path(folder, "a.html"), call, found, comparison)
            doing("export")
            written = export(call, Path(folder, "all"), findings=found)
            written += export(call, Path(folder, "all"), "flac", findings=found)
            size = sum(file.stat().st_size for file in written)
    failed = [str(w.message) for w in told if "failed" in str(w.message)]
    if failed:
        raise AssertionError("; ".join(failed))
    return f"{call.duration:.1f} s, {len(found)} findings, exports of {size / 1e6:.1f} MB"


def of_sound(path: Path) -> str:
    """A sound file as speech to compare."""
    doing("read")
    try:
        audio = Audio.read(path)
    except ValueError:
        audio = Audio.read(path, 0)
    doing("use")
    return f"{audio!r}, {audio.span(0, 1).resampled(16000).level:.1f}"

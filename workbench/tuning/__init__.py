"""Which outbound setting: the same speech through all of them, and the one to take.

Data flows down: :mod:`workbench.tuning.voice` (what the bot said) goes through the real serializer
(:mod:`workbench.tuning.resend`) with a setting (:mod:`workbench.tuning.settings`), over a leg
(:mod:`workbench.tuning.legs`), which is a :mod:`workbench.tuning.trial`; trials side by side are a
:mod:`workbench.tuning.comparison`, trials on many calls a choice (:mod:`workbench.tuning.tuning`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.tuning.batch import tune_captures as tune_captures
    from workbench.tuning.carrier_recording import MeasuredLeg as MeasuredLeg
    from workbench.tuning.comparison import Comparison as Comparison
    from workbench.tuning.comparison import compare as compare
    from workbench.tuning.legs import LEGS as LEGS
    from workbench.tuning.legs import Leg as Leg
    from workbench.tuning.settings import SETTINGS as SETTINGS
    from workbench.tuning.settings import Setting as Setting
    from workbench.tuning.tuning import TuningResult as TuningResult
    from workbench.tuning.tuning import tune as tune

__all__ = [
    "Comparison",
    "LEGS",
    "Leg",
    "MeasuredLeg",
    "SETTINGS",
    "Setting",
    "TuningResult",
    "compare",
    "tune",
    "tune_captures",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Comparison": ".comparison",
        "compare": ".comparison",
        "SETTINGS": ".settings",
        "Setting": ".settings",
        "LEGS": ".legs",
        "Leg": ".legs",
        "TuningResult": ".tuning",
        "tune": ".tuning",
        "tune_captures": ".batch",
        "MeasuredLeg": ".carrier_recording",
    },
)

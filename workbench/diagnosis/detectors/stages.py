"""Which stage of the pipeline a wait is to be blamed on, in the words of a finding."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.call import Stage
from workbench.call.answers import HOW_TO_SEE
from workbench.call.stages import in_words, largest

__all__ = ["because"]


def because(
    stages: Sequence[Stage], cause: str, remedy: str, *, with_setting: bool = True
) -> tuple[str, str]:
    """Cause and remedy of a wait, with the stage that took most of it.

    Args:
        stages: Of the wait, or of several, from :meth:`workbench.call.Call.stages`.
        cause: Where nothing more is known.
        remedy: Likewise.
        with_setting: Whether to say what governs the stage, before the remedy.

    Returns:
        The stage, its service and its share before the cause, the setting that governs it before the
        remedy; where the pipeline told nothing, how it would.
    """
    share, most = in_words(stages), largest(stages)
    if most is None:
        return cause, remedy
    if not share:
        return cause, f"{remedy} {HOW_TO_SEE}"
    setting = f"{most.setting[0].upper()}{most.setting[1:]}. " if with_setting else ""
    return f"The wait took {share}. {cause}", setting + remedy

"""Many calls: which of them were bad, why, and what changed between groups of them.

:mod:`workbench.surveys.sources` finds captures, :mod:`workbench.surveys.surveying` opens each once and
keeps a row of it (:mod:`workbench.surveys.row`) in a data set (:mod:`workbench.surveys.dataset`); what is
told of the rows is :class:`workbench.surveys.result.Survey`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.surveys.dataset import DataSet as DataSet
    from workbench.surveys.result import Survey as Survey
    from workbench.surveys.surveying import survey as survey

__all__ = ["DataSet", "Survey", "survey"]

__getattr__, __dir__ = lazy(
    __name__,
    {"DataSet": ".dataset", "Survey": ".result", "survey": ".surveying"},
)

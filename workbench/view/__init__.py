"""A folder of calls in the browser: the list, and for each call the timeline that Jupyter has.

::

    workbench view captures/

:mod:`workbench.view.shelf` knows which calls there are and looks at them in the background,
:mod:`workbench.view.application` answers the browser, behind :mod:`workbench.view.guard`, and
:mod:`workbench.view.hosting` runs the widget where there is no kernel. The page is in ``page/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.view.serving import serve as serve
    from workbench.view.shelf import Shelf as Shelf

__all__ = ["Shelf", "serve"]

__getattr__, __dir__ = lazy(__name__, {"Shelf": ".shelf", "serve": ".serving"})

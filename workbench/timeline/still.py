"""What stands in a saved notebook for a widget, when no kernel knows it any more.

Of one output a front end shows the richest form it can: for a widget whose model is gone, that is an
error, and never the picture beside it. So the still is an output of its own, before the widget's,
and the widget hides it in the browser for as long as it lives (``Still`` in ``page.js``).
"""

from __future__ import annotations

import base64
from typing import Any, Final

from IPython.display import display

__all__ = ["MARK", "show", "tail"]

#: Class of a still that is HTML; a second one, this and the widget's token, is its own.
MARK: Final = "wb-still"
#: So much of a picture's base64 tells it from every other: its checksums are in it.
_TAIL: Final = 80


def tail(png: bytes) -> str:
    """What the browser knows a picture by."""
    return base64.b64encode(png).decode("ascii")[-_TAIL:]


def show(widget: Any, still: bytes | str) -> None:
    """Show a widget in a notebook, and its still before it.

    Args:
        widget: Any.
        still: A PNG, or HTML.
    """
    if isinstance(still, bytes):
        kept = {"image/png": base64.b64encode(still).decode("ascii")}
    else:
        kept = {"text/html": still}
    display({"text/plain": repr(widget), **kept}, raw=True)  # type: ignore[no-untyped-call]
    bundle = widget._repr_mimebundle_()
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]

"""The command line: thin, every command one call into the package.

Exit codes: 0 done; 1 done, and the answer is bad (a finding as severe as ``--fail-on``, a call that
failed); 2 it could not be done (no such file, not a capture, no such server).
"""

from __future__ import annotations

import os
import sys

# In the order in which --help lists what they hold.
from workbench.cli import calling, judging, showing  # noqa: F401, I001
from workbench.cli.app import app
from workbench.cli.console import err

__all__ = ["app", "main"]


def main() -> None:
    """Run; print an expected failure as one line."""
    # Pipecat greets with a log line when it is imported, here and in the processes that this starts.
    os.environ.setdefault("LOGURU_LEVEL", "WARNING")
    os.environ.setdefault("LOGURU_FORMAT", "{level}: {message}")
    try:
        app()
    except Exception as error:
        if not isinstance(error, (OSError, ValueError)):
            from workbench.exceptions import WorkbenchError

            if not isinstance(error, WorkbenchError):
                raise
        text = str(error)
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            text = f"{error.filename}: {error.strerror}"
        err.print(f"workbench: {text}", markup=False, soft_wrap=True)
        sys.exit(2)

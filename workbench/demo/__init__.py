"""The demo: a real bot, a simulated call to it, and the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipecat_bandwidth._lazy import lazy

if TYPE_CHECKING:
    from workbench.demo.bot import create_app as create_app
    from workbench.demo.bot import serve as serve
    from workbench.demo.calling import samples as samples
    from workbench.demo.calling import simulate_call as simulate_call
    from workbench.demo.calling import simulate_calls as simulate_calls
    from workbench.demo.demo import Demo as Demo
    from workbench.demo.demo import record_call as record_call
    from workbench.demo.demo import run_demo as run_demo

__all__ = [
    "Demo",
    "create_app",
    "record_call",
    "run_demo",
    "samples",
    "serve",
    "simulate_call",
    "simulate_calls",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Demo": ".demo",
        "record_call": ".demo",
        "run_demo": ".demo",
        "samples": ".calling",
        "simulate_call": ".calling",
        "simulate_calls": ".calling",
        "create_app": ".bot",
        "serve": ".bot",
    },
)

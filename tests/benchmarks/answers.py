"""The stages of ten answers of a real pipeline, held against the delays that were planted."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from tests.staged import PLANS, in_a_process
from workbench import Call

#: Goal of the error of each stage, in milliseconds.
GOAL_MS = 20.0
#: Stage to how long it was planted to be, in seconds.
STAGES = {
    "voice_end": "vad",
    "transcript": "stt",
    "first_token": "model",
    "sentence": "tokens",
    "first_byte": "synthesis",
}


def run(console: Console) -> list[list[str]]:
    """Record a call, split its answers, print each stage with its error."""
    planted = PLANS["ten"].answers
    with tempfile.TemporaryDirectory() as folder:
        in_a_process(Path(folder), ["ten"])
        answers = Call.open(Path(folder) / "ten.mcap").answers
    rows = [["answer", "wait (ms)", *STAGES, "all else", "sum - wait"]]
    errors = []
    for number, (answer, plan) in enumerate(zip(answers, planted, strict=True), 1):
        took = dict.fromkeys(STAGES, 0.0)
        for stage in answer.stages:
            if stage.name in took:
                took[stage.name] += stage.took_ms
        off = {name: took[name] - 1000 * getattr(plan, given) for name, given in STAGES.items()}
        errors.append(list(off.values()))
        cells = [f"{took[name]:.0f} ({off[name]:+.0f})" for name in STAGES]
        left = 1000 * (sum(s.took_ms for s in answer.stages) - answer.wait_ms)
        else_ms = answer.wait_ms - sum(took.values())
        rows.append(
            [str(number), f"{answer.wait_ms:.0f}", *cells, f"{else_ms:.0f}", f"{left:.1f} us"]
        )
    table = Table(
        *(Column(name, no_wrap=True) for name in rows[0]),
        title="ms of each stage (and its error against what was planted)",
    )
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
    worst = np.abs(errors).max(axis=0)
    told = ", ".join(f"{name} {value:.1f}" for name, value in zip(STAGES, worst, strict=True))
    console.print(f"largest error (ms): {told}; goal: under {GOAL_MS:.0f} ms")
    return rows

"""What is printed; findings and comparisons are printed in their rooms' tests."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

from rich.console import Console

from workbench.terminal import print_summary, print_tuning


def printed(show, thing) -> str:
    console = Console(file=StringIO(), width=40)
    show(console, thing)
    return console.file.getvalue()


def test_a_summary_wraps_its_sentence_and_keeps_each_fact_on_a_line():
    sentence, fact = "word " * 12 + "end.", "path " + "x" * 50
    *first, last = printed(print_summary, f"{sentence}\n{fact}").splitlines()
    assert len(first) == 2 and all(len(line) <= 40 for line in first)
    assert last == fact


def test_a_choice_is_printed_with_its_reasons_and_a_line_to_paste():
    code = "InputParams(outbound_encoding='PCM', outbound_pcm_sample_rate=16000)"
    result = SimpleNamespace(why=["It ties [with] PCMU."], advice=["Set the rate."], code=code)
    text = printed(print_tuning, result)
    assert text.splitlines() == ["It ties [with] PCMU.", "Advice: Set the rate.", code]

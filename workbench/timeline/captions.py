"""What is said, phrase by phrase, as plain values for the player.

Like all that a capture says it goes to the browser in answer to a message, never by synchronised
state: a notebook that is saved does not hold it.
"""

from __future__ import annotations

from typing import Any

from workbench.call import Call
from workbench.timeline.marks import clean

__all__ = ["captions"]


def captions(call: Call) -> list[dict[str, Any]]:
    """Collect what both sides said.

    Args:
        call: The call; mostly it has no words.

    Returns:
        A dict for each phrase, of JSON's types: ``side``, ``heard`` and ``about`` as of its words, and
        ``words``, each as a list of its text, start and end in seconds.
    """
    return [
        {
            "side": phrase[0].side,
            "heard": phrase[0].heard,
            "about": phrase.about,
            "words": [[clean(word.text), word.start, word.end] for word in phrase],
        }
        for phrase in call.words.phrases
    ]

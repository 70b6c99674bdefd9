"""The README as the package's metadata holds it: without links that lead nowhere from there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A picture, or a link, that is no address and no heading: a file beside the README.
_FILE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")


def described(readme: str, base: str = "") -> str:
    """Make links to files beside the README absolute, or plain text.

    Args:
        readme: The text.
        base: Where those files can be had, ``https://.../``; without it a link becomes its text, and a
            picture goes.
    """

    def replaced(found: re.Match[str]) -> str:
        picture, text, file = found.groups()
        if base:
            return f"{picture}[{text}]({base.rstrip('/')}/{file})"
        return "" if picture else text

    return re.sub(r"\n{3,}", "\n\n", _FILE.sub(replaced, readme))


class ReadmeHook(MetadataHookInterface):
    """Puts it into the metadata; ``files-url`` in pyproject.toml is the base, if there is one."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what pyproject.toml calls dynamic."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = described(readme, self.config.get("files-url", ""))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}

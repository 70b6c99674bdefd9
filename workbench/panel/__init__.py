"""The panel: choose an outbound setting, hear it, see what it scores, and take it to the bot."""

from workbench.panel.panel import CANDIDATE, Panel

__all__ = ["CANDIDATE", "Panel"]

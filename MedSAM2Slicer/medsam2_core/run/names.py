"""Names of objects and windows, as people type them. Imports nothing heavy, for the command line's help."""

from __future__ import annotations

from medsam2_core.errors import PromptError


def checked_name(text: str, where: str) -> str:
    """The name of an object, without outer blanks; PromptError if it is empty or holds control characters."""
    name = text.strip()
    if not name or not name.isprintable():
        raise PromptError(f"{where} {text!r} is not a name: give one line of visible text, such as liver.")
    return name

"""Numbers of things in messages, right for one of them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A number of things: "1 case", "2 cases", "2 boxes"."""
    ending = "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"


def are(count: int) -> str:
    """What things that were `counted` do."""
    return "is" if count == 1 else "are"

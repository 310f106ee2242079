"""What mypy is to know of Slicer: what our own types depend on. All else is Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...

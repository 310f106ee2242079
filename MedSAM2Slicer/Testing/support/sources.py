"""What a file of Python imports, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def imports(source: Path) -> Iterator[str]:
    """Top-level names of all that a file imports, as in `importedNames`; relative imports as "."."""
    return (name.partition(".")[0] or "." for name in importedNames(source))


def importedNames(source: Path) -> Iterator[str]:
    """All that a file imports, at file scope, within functions or for types only; with "." before relative ones."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)

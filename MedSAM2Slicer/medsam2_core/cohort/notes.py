"""Notes: small JSON files that say of what kind they are, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medsam2_core.files.draft import write_file
from medsam2_core.files.text import TextError, read_json


def write_note(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all. Raises VolumeError."""
    write_file(path, json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False).encode() + b"\n")


def read_note(path: Path, kind: str) -> dict[str, Any] | None:
    """What a note of a kind, its "format", holds; None for anything else, and where there is none."""
    try:
        content = read_json(path)
    except (OSError, TextError):
        return None
    return content if isinstance(content, dict) and content.get("format") == kind else None

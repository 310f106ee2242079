"""What must hold before a version is tagged: `python .ci/release.py 0.2.0`. Needs git and the standard library only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 100  # MB of clone and history, from which on the Extensions Index refuses a repository
VERSIONS = {
    "pyproject.toml": r'^version = "(.+)"$',
    "MedSAM2Slicer/medsam2_core/__init__.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r"^version: (.+)$",
    "CHANGELOG.md": r"^## \[(.+?)\] - \d{4}-\d{2}-\d{2}$",  # the newest entry, dated
}


def wrong_versions(version: str) -> list[str]:
    """Say where another version is named, or none."""
    named = {file: _first(pattern, (ROOT / file).read_text("utf-8")) for file, pattern in VERSIONS.items()}
    return [f"{file} has {name}, not {version}" for file, name in named.items() if name != version]


def clone_megabytes() -> float:
    """Size of what is checked out, and of its history as git sends it."""
    tracked = _git("ls-files", "-z").split("\0")
    history = int(_git("rev-list", "--disk-usage", "--objects", "HEAD"))
    return (sum((ROOT / name).stat().st_size for name in tracked if name) + history) / 1e6


def main() -> int:
    """Print what is wrong; returns the exit code."""
    (version,) = sys.argv[1:]
    size = clone_megabytes()
    problems = wrong_versions(version)
    if size >= LIMIT:
        problems.append(f"clone and history are {size:.0f} MB, the limit is {LIMIT} MB")
    for problem in problems or [f"version {version} can be tagged; clone and history are {size:.0f} MB"]:
        print(problem)
    return 1 if problems else 0


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else "no dated version"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout  # noqa: S607 - git is git


if __name__ == "__main__":
    sys.exit(main())

"""Which folders of the core may import which: none imports what is above it, and no two files import each other."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

CORE = Path(__file__).parents[2] / "medsam2_core"

# The files beside the folders: values that need nothing, the two doors, and the rest, which is what a session is.
ROOMS_OF_FILES = {
    **dict.fromkeys(
        ("arrays", "config", "errors", "memory_name", "notices", "processor", "setting", "stopping", "version"),
        "basics",
    ),
    **dict.fromkeys(("__init__", "api"), "api"),
}
MAY_IMPORT = {
    "basics": set(),
    "files": {"basics"},
    "image": {"basics"},
    "io": {"basics", "files", "image"},
    "model": {"basics"},
    "weights": {"basics", "files", "model"},
    "session": {"basics", "image", "model"},
    "run": {"basics", "files", "image", "io"},
    "api": {"basics", "image", "session", "weights"},
    "training": {"basics", "files", "image", "io", "model", "session", "weights"},
    "speed": {"api", "basics", "image", "model"},
    "worker": {"basics", "image", "model", "run", "session", "weights"},
    "cli": {
        "api",
        "basics",
        "files",
        "image",
        "io",
        "model",
        "run",
        "session",
        "speed",
        "training",
        "weights",
        "worker",
    },
}
# `python -m medsam2_core.worker` is a command line too.
ENTRANCE = "worker.__main__"


def _modules() -> dict[str, Path]:
    """The core's files by their name within it, such as "image.window"; a package is its folder."""
    files = {".".join(path.relative_to(CORE).with_suffix("").parts): path for path in CORE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in files.items()}


MODULES = _modules()


def _imports(path: Path) -> Iterator[str]:
    """Names of the core's files that a file imports, at file scope, within functions or for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "medsam2_core":
                yield _file(name.removeprefix("medsam2_core").removeprefix("."))


def _file(name: str) -> str:
    """The file that a name is, or is in."""
    while name not in MODULES and name:
        name = name.rpartition(".")[0]
    return name or "__init__"


def _room(name: str) -> str:
    room, _, within = name.partition(".")
    return room if within or (CORE / room).is_dir() else ROOMS_OF_FILES.get(name, "session")


GRAPH = {name: set(_imports(path)) for name, path in MODULES.items()}


def test_no_import_climbs() -> None:
    climbs = [
        f"{name} imports {other}: {_room(name)} may not import {_room(other)}"
        for name, others in GRAPH.items()
        for other in others
        if name != ENTRANCE and _room(other) not in {_room(name), *MAY_IMPORT[_room(name)]}
    ]
    assert climbs == []


def test_the_table_allows_nothing_that_is_not_used() -> None:
    used = {(_room(name), _room(other)) for name, others in GRAPH.items() for other in others}
    assert [(room, other) for room, others in MAY_IMPORT.items() for other in others if (room, other) not in used] == []


def test_there_are_no_circles() -> None:
    graphlib.TopologicalSorter(MAY_IMPORT).prepare()
    graphlib.TopologicalSorter({name: others - {name} for name, others in GRAPH.items()}).prepare()

"""Which folders of a package may import which: none imports what is above it, and no two files import each other."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from sources import importedNames

MODULE = Path(__file__).parents[2]


@dataclass(frozen=True)
class House:
    """A package. Its rooms are its folders, and those of `files` for the files beside these; `rest` is of the others.

    `entrances` are files that may import anything: programs, and what Slicer loads.
    """

    package: str
    may_import: Mapping[str, set[str]]
    files: Mapping[str, str]
    rest: str
    entrances: frozenset[str]

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """What each file imports, by names within the package such as "image.window"; a folder is its __init__."""
        folder = MODULE / self.package
        files = {".".join(path.relative_to(folder).with_suffix("").parts): path for path in folder.rglob("*.py")}
        modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
        return {name: {self._file(one, modules) for one in self._imports(path)} for name, path in modules.items()}

    def room(self, name: str) -> str:
        """The room of a file."""
        room, _, within = name.partition(".")
        return room if within or (MODULE / self.package / room).is_dir() else self.files.get(name, self.rest)

    def _imports(self, path: Path) -> Iterator[str]:
        """Names in this package that a file imports, at file scope, within functions or for types only."""
        for name in importedNames(path):
            if name.partition(".")[0] == self.package:
                yield name.removeprefix(self.package).removeprefix(".")

    @staticmethod
    def _file(name: str, modules: Mapping[str, Path]) -> str:
        """The file that a name is, or is in."""
        while name not in modules and name:
            name = name.rpartition(".")[0]
        return name or "__init__"


def named(**rooms: str) -> dict[str, str]:
    """Rooms by the names of their files."""
    return {file: room for room, files in rooms.items() for file in files.split()}


CORE = House(
    "medsam2_core",
    {
        "basics": set(),
        "files": {"basics"},
        "image": {"basics"},
        "io": {"basics", "files", "image"},
        "model": {"basics"},
        "weights": {"basics", "files", "model"},
        "session": {"basics", "files", "image", "model"},
        "run": {"basics", "files", "image", "io"},
        "api": {"basics", "image", "session", "weights"},
        "speed": {"api", "basics", "image", "model"},
        "training": {"basics", "files", "image", "io", "model", "run", "session", "weights"},
        "worker": {"basics", "image", "model", "run", "session", "weights"},
        "job": {"api", "basics", "files", "image", "io", "model", "run", "session", "weights"},
        "cohort": {"basics", "files", "image", "io", "job", "run", "training", "weights"},
        "cli": {
            "api", "basics", "cohort", "image", "io", "job", "model", "run", "speed", "training", "weights", "worker",
        },
    },
    named(
        basics=(
            "arrays config counting directions errors feature_place limits memory_name named_folder "
            "notices processor setting stopping version"
        ),
        api="__init__ api",
    ),
    rest="session",
    entrances=frozenset({"worker.__main__"}),  # a command line too
)  # fmt: skip
LIB = House(
    "MedSAM2SlicerLib",
    {
        "basics": set(),
        "scene": {"basics"},
        "prompts": {"basics", "scene"},
        "worker": {"basics", "scene"},
        "record": {"basics", "scene", "worker"},
        "work": {"basics", "prompts", "record", "scene", "worker"},
        "cohort": {"basics", "prompts", "scene", "work"},
        "control": {"basics", "prompts", "record", "scene", "work", "worker"},
        "images": {"basics", "prompts", "scene", "worker"},
        "moments": {"basics", "scene", "worker"},
        "mouse": {"basics"},
        "setup": {"worker"},
        "ui": {
            "basics",
            "cohort",
            "control",
            "images",
            "moments",
            "mouse",
            "prompts",
            "scene",
            "setup",
            "work",
            "worker",
        },
    },
    named(basics="__init__ faults options segmentnames signal"),
    rest="control",
    entrances=frozenset({"SegmentEditorEffect", "effectregistration"}),
)
houses = pytest.mark.parametrize("house", [CORE, LIB], ids=lambda house: house.package)


@houses
def test_no_import_climbs(house: House) -> None:
    climbs = [
        f"{name} imports {other}: {house.room(name)} may not import {house.room(other)}"
        for name, others in house.graph.items()
        for other in others
        if name not in house.entrances
        and house.room(other) not in {house.room(name), *house.may_import[house.room(name)]}
    ]
    assert climbs == []


@houses
def test_the_table_allows_nothing_that_is_not_used(house: House) -> None:
    used = {(house.room(name), house.room(other)) for name, others in house.graph.items() for other in others}
    allowed = {(room, other) for room, others in house.may_import.items() for other in others}
    assert allowed - used == set()


@houses
def test_there_are_no_circles(house: House) -> None:
    graphlib.TopologicalSorter(house.may_import).prepare()
    graph = {name: others - {name} - house.entrances for name, others in house.graph.items()}
    graphlib.TopologicalSorter(graph).prepare()

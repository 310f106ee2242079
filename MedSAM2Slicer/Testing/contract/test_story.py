"""docs/development.md: every function that it links to exists, and its picture of the folders is the code's."""

import ast
import re
from pathlib import Path

import pytest

import draw_map

DOCS = Path(__file__).parents[3] / "docs"
LINK = re.compile(r"\[`([\w.]+)`\]\((\S+\.py)\)")
LINKS = LINK.findall((DOCS / "development.md").read_text(encoding="utf-8"))


def _definitions(body: list[ast.stmt], within: str = "") -> set[str]:
    """Functions and classes, and those within classes after the class's name and a dot."""
    found = set[str]()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(within + node.name)
        if isinstance(node, ast.ClassDef):
            found |= _definitions(node.body, f"{within}{node.name}.")
    return found


def test_the_story_has_links() -> None:
    assert len(LINKS) > 30


@pytest.mark.parametrize(("name", "file"), LINKS)
def test_each_step_of_the_story_exists(name: str, file: str) -> None:
    path = DOCS / file
    assert path.is_file(), f"docs/development.md links to {file}, which is not there: name the file it moved to."
    found = _definitions(ast.parse(path.read_text(encoding="utf-8")).body)
    assert name in found, f"docs/development.md follows {name}, which {file} does not define."


def test_the_map_is_what_the_code_says() -> None:
    """A changed folder or import: run `make map` and commit the picture."""
    assert draw_map.PICTURE.read_text(encoding="utf-8") == draw_map.drawn()

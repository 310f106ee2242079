"""US spelling in all that is read: documents, texts of the interface, and what code says in strings and comments.

codespell, in `make lint`, sees names in code too and leaves out the words that some have (pyproject.toml).
"""

import io
import re
import tokenize
from pathlib import Path

import codespell_lib
import pytest

ROOT = Path(__file__).parents[3]
DICTIONARY = Path(codespell_lib.__file__).parent / "data" / "dictionary_en-GB_to_en-US.txt"
AMERICAN = dict(line.split("->") for line in DICTIONARY.read_text(encoding="utf-8").splitlines())
NAMES = re.compile(r"`[^`\n]*`|\{[^{}\n]*\}|\bCancelled\b")
TEXTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile")]
TEXTS += sorted(ROOT.glob("docs/**/*.md")) + sorted(ROOT.glob("MedSAM2Slicer/Resources/**/*.[mu][di]"))
SOURCES = [*sorted(ROOT.glob("MedSAM2Slicer/**/*.py")), *sorted(ROOT.glob("benchmarks/*.py"))]


def british(text: str) -> list[str]:
    """The words of a text that are spelled otherwise in the US; names of code do not count."""
    return [word for word in re.findall(r"[A-Za-z]+", NAMES.sub("", text)) if word.lower() in AMERICAN]


def prose(source: str) -> str:
    """What a file of Python says to people: comments, and strings of several words."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    return "\n".join(token.string for token in tokens if token.type in kinds and re.search(r"\S\s+\S", token.string))


def test_british_spelling_is_found() -> None:
    assert british("A grey `catalogue` of the {neighbours}; colours.") == ["grey", "colours"]
    assert british(prose('centre = "grey"  # no colour\n')) == ["colour"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_documents(path: Path) -> None:
    assert british(path.read_text(encoding="utf-8")) == []


def test_code() -> None:
    found = {path.name: british(prose(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {name: words for name, words in found.items() if words and name != Path(__file__).name} == {}

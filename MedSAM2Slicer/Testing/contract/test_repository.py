"""What holds for the repository as a whole: its files, their length, what they may not name, its version."""

import os
import re
import runpy
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
LONGEST = 400
# Put together here, so that this file does not name them either.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("conda", "anaconda", "org"),
        ("repo", "anaconda", "com"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("security", "ubuntu", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    )
]


def _files() -> Iterator[Path]:
    """Every file that belongs to the repository: all but what .gitignore names (it only names folders)."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line]
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if name != ".git" and not any(fnmatch(name, p) for p in ignored)]
        yield from (Path(folder, name) for name in names)


def _version(pattern: str, file: str) -> str:
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{file} holds no version"
    return found[1]


def test_gitignore_names_only_folders() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[^/!]+/", line) for line in lines if line)


def test_no_file_names_a_package_registry_host() -> None:
    hosts = [host.encode() for host in REGISTRIES]
    named = [str(path.relative_to(ROOT)) for path in _files() if any(h in path.read_bytes().lower() for h in hosts)]
    assert named == []


def test_no_python_file_is_too_long() -> None:
    lengths = {p.relative_to(ROOT): p.read_bytes().count(b"\n") for p in _files() if p.suffix == ".py"}
    assert len(lengths) > 50
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_versions_agree() -> None:
    version = _version(r'^version = "(.+)"$', "pyproject.toml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert _version(r'^__version__ = "(.+)"$', "MedSAM2Slicer/medsam2_core/__init__.py") == version
    assert _version(r"^## \[(.+?)\]", "CHANGELOG.md") == version  # the newest entry


def test_a_release_is_refused_where_versions_differ_or_the_changelog_has_no_date() -> None:
    wrong_versions = runpy.run_path(str(ROOT / ".ci/release.py"))["wrong_versions"]
    files = {"pyproject.toml", "MedSAM2Slicer/medsam2_core/__init__.py", "CITATION.cff", "CHANGELOG.md"}
    assert {problem.split()[0] for problem in wrong_versions("0.0.0")} == files
    newest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = _version(r'^version = "(.+)"$', "pyproject.toml")
    undated = f"## [{version}] - unreleased" in newest
    assert wrong_versions(version) == ([f"CHANGELOG.md has no dated version, not {version}"] if undated else [])


def test_workflows_run_commands_that_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    workflows = list((ROOT / ".github/workflows").glob("*.yml"))
    assert len(workflows) == 3
    used = {name for path in workflows for name in re.findall(r"\bmake ([\w-]+)", path.read_text(encoding="utf-8"))}
    assert "test" in used
    assert used <= targets


def test_licenses_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == _version(r'^license = "(.+)"$', "pyproject.toml") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE.txt").read_text(encoding="utf-8")


def test_what_ci_runs_is_executable() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)

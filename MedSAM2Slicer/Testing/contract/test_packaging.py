"""The extension's package: every file is in it, and the three descriptions of the extension say the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
from patience import CEILING

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "MedSAM2Slicer"
NAME = "MedSAM2Slicer"
CMAKE = shutil.which("cmake")
# The Extensions Index reads CMakeLists.txt with these (scripts/check_description_files.py).
INDEX_PROJECT = r"project\s*\(\s*([^\s\)\n\r]+)"
INDEX_ICON = r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)'
INDEX_SCREENSHOTS = r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)'
# Keys of Extension.s4ext in the order of Slicer's template; the first three come from the repository.
S4EXT_KEYS = [
    *("scm", "scmurl", "scmrevision", "depends", "recommends", "build_subdirectory", "homepage", "contributors"),
    *("category", "iconurl", "status", "tier", "description", "screenshoturls", "enabled", "dicom_support_rule"),
    "keywords",
]
JSON_TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}


def _cmake_list(variable: str, file: Path = MODULE / "CMakeLists.txt") -> list[str]:
    found = re.search(rf"set\({variable}\s+(.*?)\)", file.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{file} sets no {variable}"
    return found[1].replace("${MODULE_NAME}", NAME).split()


def _module_files() -> list[str]:
    """Every file of the module that belongs to the repository, but for the tests and CMake's own."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line]
    found = []
    for folder, subfolders, names in os.walk(MODULE):
        subfolders[:] = [name for name in subfolders if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder, name).relative_to(MODULE).as_posix() for name in names]
    return sorted(name for name in found if not name.startswith("Testing/") and name != "CMakeLists.txt")


def _differences(listed: list[str], there: list[str]) -> str:
    add = "".join(f"\n  {name}" for name in there if name not in listed)
    remove = "".join(f"\n  {name}" for name in listed if name not in there)
    return (f"\nadd these lines:{add}" if add else "") + (f"\nremove these lines:{remove}" if remove else "")


@pytest.mark.parametrize(("variable", "python"), [("MODULE_PYTHON_SCRIPTS", True), ("MODULE_PYTHON_RESOURCES", False)])
def test_every_file_is_in_the_package(variable: str, python: bool) -> None:
    listed = _cmake_list(variable)
    there = [name for name in _module_files() if name.endswith(".py") is python]
    differences = _differences(listed, there)
    assert not differences, f"{variable} in MedSAM2Slicer/CMakeLists.txt:{differences}"
    assert len(listed) == len(set(listed))


def test_every_self_test_is_run() -> None:
    folder = MODULE / "Testing/Python"
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.findall(r"^slicer_add_python_unittest\(SCRIPT (\S+)\)$", text, re.MULTILINE)
    differences = _differences(listed, sorted(path.name for path in folder.glob("test_*.py")))
    assert not differences, f"Testing/Python/CMakeLists.txt:{differences}"


def test_one_slicer_module() -> None:
    """Slicer takes every Python file that lies directly in the module's folder for a module."""
    assert [path.name for path in MODULE.glob("*.py")] == [f"{NAME}.py"]


def _settings() -> dict[str, str]:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "(.*)"\)$', text, re.MULTILINE))


def test_extensions_index_finds_name_and_pictures() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(INDEX_PROJECT, text, re.IGNORECASE)[0] == NAME
    assert not NAME.lower().startswith("slicer")
    addresses = re.findall(INDEX_ICON, text)[0].split() + re.findall(INDEX_SCREENSHOTS, text)[0].split()
    assert len(addresses) >= 2
    for address in addresses:
        base, _, path = address.partition("/main/")
        assert base.removeprefix("https://raw.githubusercontent.com/") == _repository()
        assert (ROOT / path).is_file(), f"{address} shows a file that is not in the repository"


def _repository() -> str:
    """Owner and name of the repository."""
    return _settings()["HOMEPAGE"].removeprefix("https://github.com/")


def test_repository_name_suits_the_extensions_index() -> None:
    assert _repository().split("/")[1].startswith("Slicer")


def test_cmake_values_survive_slicers_macros() -> None:
    """Slicer passes them on unquoted: a semicolon would cut a value in two."""
    settings = _settings()
    assert {"HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "README_FILE", "LICENSE_FILE"} <= settings.keys()
    assert not [name for name, value in settings.items() if ";" in value or not value]


def test_s4ext_equals_cmake() -> None:
    lines = (ROOT / "Extension.s4ext").read_text(encoding="utf-8").splitlines()
    entries = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    assert [key for key, _, _ in entries] == S4EXT_KEYS
    values = {key: value for key, _, value in entries}
    assert values.pop("scm") == "git"
    assert values.pop("scmurl") == f"https://github.com/{_repository()}.git"
    assert values.pop("scmrevision") == "main"
    settings = _settings()
    assert values == {key: settings.get(key.upper(), "") for key in values}


def test_index_entry_fits_its_schema_and_cmake() -> None:
    path = ROOT / "docs" / f"{NAME}.json"
    assert b"\r" not in path.read_bytes()
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert {"$schema", "category", "scm_url"} <= entry.keys() <= JSON_TYPES.keys()
    assert all(type(value) is JSON_TYPES[key] for key, value in entry.items())
    assert re.fullmatch(r"https://\S+/slicer-extension-catalog-entry-schema-v1\.0\.\d\.json#", entry["$schema"])
    settings = _settings()
    assert entry["category"] == settings["CATEGORY"]
    assert entry["build_dependencies"] == settings["DEPENDS"].split()
    assert entry["build_subdirectory"] == settings["BUILD_SUBDIRECTORY"]
    assert entry["scm_url"] == f"https://github.com/{_repository()}.git"
    assert entry["scm_revision"] == "main"
    assert str(entry["tier"]) == settings["TIER"]


def test_icons_are_pictures_of_128_pixels() -> None:
    icons = MODULE / "Resources/Icons"
    sources = sorted(icons.glob("*.svg"))
    assert icons / f"{NAME}.svg" in sources
    for source in sources:
        header = source.with_suffix(".png").read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        assert struct.unpack(">II", header[16:24]) == (128, 128)


def test_heavy_packages_are_not_installed_with_pip() -> None:
    lines = (MODULE / "Resources/requirements.txt").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in lines if line and not line.startswith("#")}
    assert names
    assert not names & {"torch", "torchvision", "numpy", "simpleitk", "vtk"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not [line for line in lines if line and not line.startswith("#") and f'"{line}"' not in project]


# Slicer's own macros check the same; the real ones need a built Slicer.
STUB_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/package.cmake)
"""
STUB_USE = """
set(EXTENSION_NAME ${PROJECT_NAME})
function(require_file file)
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    message(FATAL_ERROR "not there: ${file}")
  endif()
endfunction()
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_NAME OR NOT MY_WITH_GENERIC_TESTS)
    message(FATAL_ERROR "unknown: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    require_file(${file})
  endforeach()
  list(LENGTH MY_SCRIPTS scripts)
  list(LENGTH MY_RESOURCES resources)
  message(STATUS "module ${MY_NAME}: ${scripts} scripts, ${resources} resources")
endfunction()
function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  require_file(${MY_SCRIPT})
  message(STATUS "test ${MY_SCRIPT}")
endfunction()
"""
STUB_PACKAGE = """
foreach(file ${EXTENSION_README_FILE} ${EXTENSION_LICENSE_FILE})
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "not there: ${file}")
  endif()
endforeach()
message(STATUS "package ${EXTENSION_NAME} depends on ${EXTENSION_DEPENDS}")
"""
# CMake looks for compilers, which nothing here uses and a test machine may lack.
NO_COMPILERS = [
    "-G",
    "Unix Makefiles",
    "-DCMAKE_MAKE_PROGRAM=cmake",
    *(
        f"-DCMAKE_{language}_COMPILER{what}"
        for language in ("C", "CXX")
        for what in (f"={CMAKE}", "_ID_RUN=1", "_FORCED=1")
    ),
]


@pytest.mark.skipif(CMAKE is None, reason="needs CMake: sudo apt install cmake")
@pytest.mark.parametrize("testing", ["ON", "OFF"])
def test_cmake_configures_the_extension(tmp_path: Path, testing: str) -> None:
    slicer = tmp_path / "slicer"
    slicer.mkdir()
    for name, text in {
        "SlicerConfig.cmake": STUB_CONFIG,
        "use.cmake": STUB_USE,
        "package.cmake": STUB_PACKAGE,
        "nothing.cmake": "",
    }.items():
        (slicer / name).write_text(text, encoding="utf-8")
    options = [f"-DSlicer_DIR={slicer}", f"-DBUILD_TESTING={testing}", *NO_COMPILERS]
    command = [str(CMAKE), "-S", str(ROOT), "-B", str(tmp_path / "build"), *options]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)
    assert done.returncode == 0, done.stderr
    scripts, resources = len(_cmake_list("MODULE_PYTHON_SCRIPTS")), len(_cmake_list("MODULE_PYTHON_RESOURCES"))
    assert f"module {NAME}: {scripts} scripts, {resources} resources" in done.stdout
    assert f"package {NAME} depends on PyTorch" in done.stdout
    assert ("test test_module.py" in done.stdout) is (testing == "ON")

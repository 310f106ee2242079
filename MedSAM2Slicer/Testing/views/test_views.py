"""What Slicer's own views show of masks and prompts; drawn in .venv-views, which `make pictures` makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from patience import CEILING

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-views/bin/python"
VIEWS = ("red", "green", "yellow")
PIXELS = 2  # that edges and glyphs may lie beside their place
GREEN, VERMILION = (0, 158, 115), (214, 94, 0)  # Okabe and Ito's
HALF = 120  # of the view


@pytest.fixture(scope="module")
def drawn() -> Any:
    """What each step of draw_scene.py changed in the views."""
    if not _can("import trame_slicer.core"):
        pytest.skip("needs trame-slicer in .venv-views: run 'make pictures'")
    run = _python(str(Path(__file__).with_name("draw_scene.py")))
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_views_are_radiological(drawn: Any) -> None:
    assert drawn["letters"] == {"red": [*"RLAP"], "green": [*"RLSI"], "yellow": [*"APSI"]}


@pytest.mark.parametrize("view", VIEWS)
def test_mask_is_drawn_on_its_voxels_and_nowhere_else(drawn: Any, view: str) -> None:
    *edges, count = drawn["mask"][view]
    top, bottom, left, right = drawn["expected"][view]
    assert edges == pytest.approx([top, bottom, left, right], abs=PIXELS)
    assert count == pytest.approx((bottom - top) * (right - left), rel=0.15)  # filled, not outlined only


@pytest.mark.parametrize(("kind", "color"), [("include", GREEN), ("exclude", VERMILION)])
def test_prompt_is_visible_where_it_was_placed(drawn: Any, kind: str, color: tuple[int, int, int]) -> None:
    top, bottom, left, right, count = drawn[kind]["frame"]
    row, column = drawn[kind]["at"]
    assert ((top + bottom) / 2, (left + right) / 2) == pytest.approx((row, column), abs=PIXELS)
    assert count > 40
    assert drawn[kind]["color"] == pytest.approx(color, abs=40)


def test_larger_i_is_towards_the_patients_left_and_smaller_j_to_the_front(drawn: Any) -> None:
    row, column = drawn["include"]["at"]
    assert row < HALF < column


def _can(code: str) -> bool:
    return PYTHON.is_file() and _python("-c", code).returncode == 0


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(PYTHON), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)

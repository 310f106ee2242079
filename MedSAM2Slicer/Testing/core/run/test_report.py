"""Reports: what they hold, that they come back the same, and that a strange file does no harm."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from runsamples import MASK, PROMPTS, SETTINGS

from medsam2_core.cli import summary
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.io import Segment, Volume
from medsam2_core.run import file as run_file
from medsam2_core.run import report
from medsam2_core.run.file_settings import place_rules
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, RunObject, ScribblePrompt
from medsam2_core.run.settings import FileSettings
from medsam2_core.stopping import StopRules

OBLIQUE = ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, -1.0))
GRID = Geometry((6, 8, 9), (0.7, 1.3, 2.5), (-10.1, 20.2, 30.3), OBLIQUE)
OBJECTS = [
    RunObject(Segment("Leber 肝臓", 3, (0.9, 0.6, 0.0)), PROMPTS[:3]),
    RunObject(Segment("[\n 1]", 7, (0.0, 0.5, 1.0)), PROMPTS[3:]),
]


STOP = {
    "absent_slices": 2,
    "min_area_mm2": 5.0,
    "max_area_change": None,
    "max_distance_mm": None,
    "inside": None,
}


@dataclass
class Facts:
    confidence: float
    object_score: float
    direction: str
    area_mm2: float
    disagreement: float | None = None


class FakeSession:
    def results(self, object_id: int) -> dict[int, Facts]:
        if object_id == 7:
            return {4: Facts(0.25, -3.0, "prompt", 0.0)}
        return {2: Facts(0.9, 8.0, "prompt", 12.0), 1: Facts(float("nan"), 7.0, "backward", 11.0)}

    def stops(self, object_id: int) -> dict[str, str]:
        return {"backward": "stopped at slice 1: object absent on 3 slices"}


def build() -> dict:
    labelmap = np.zeros(GRID.shape_kji, np.uint8)
    labelmap[2, :4] = 3
    volume, encoder = Volume(np.zeros(GRID.shape_kji), GRID, Path("ct.nrrd")), {"runs": 3, "hits": 1}
    return report.build_report(volume, SETTINGS, OBJECTS, FakeSession(), labelmap, seconds=2.0, encoder=encoder)


def test_a_report_holds_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    report.write_report(path, build())
    found = json.loads(path.read_text("utf-8"))
    assert found == build()
    assert found["format"] == "medsam2-run/1"
    assert found["volume"]["shape_kji"] == [6, 8, 9]
    assert found["settings"]["window"] == {"name": "abdomen", "lower": -160, "upper": 240}
    assert found["settings"]["stop"] == STOP
    assert (found["settings"]["threshold"], found["settings"]["smoothing_mm"]) == (0.5, 0.0)
    liver, empty = found["objects"]
    assert liver["volume_ml"] == pytest.approx(36 * 0.7 * 1.3 * 2.5 / 1000, abs=1e-3)
    assert [facts["slice_index"] for facts in liver["slices"]] == [1, 2]
    assert liver["slices"][0]["confidence"] is None  # JSON has no NaN
    assert liver["stopped"] == {"backward": "stopped at slice 1: object absent on 3 slices"}
    assert empty["prompts"][0]["runs"] == report.encode_mask(MASK)
    assert found["slices_per_second"] == 1.5
    assert found["encoder"] == {"runs": 3, "hits": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_prompts_come_back_exactly(tmp_path: Path, axis: int) -> None:
    slicing = Slicing(GRID, axis)
    mask = np.random.default_rng(2).random(slicing.shape) > 0.3
    stroke = ScribblePrompt(2, ((3.0, 4.125), (2.5, 4.0)), False)
    prompts = (OBJECTS[0].prompts[0], BoxPrompt(2, (0.1, 1.7, 5.35, 4.0)), stroke, MaskPrompt(3, mask))
    raw = [report._prompt(prompt, slicing) for prompt in prompts]
    path = tmp_path / "r.json"
    report.write_report(path, {"objects": [{"name": "a", "prompts": raw}]})
    (item,) = run_file.read_run_file(path).objects
    *points, box, scribble, masked = run_file.place_file_prompts(item, slicing, path)
    assert [(p.slice_index, p.points_xy[0], p.include[0]) for p in points] == [
        (2, (1.125, 2.3), True), (2, (5.001, 3.0), False),
    ]  # fmt: skip
    assert (box, scribble) == (prompts[1], stroke)
    np.testing.assert_array_equal(masked.mask, mask)


def test_names_survive_the_layout_of_the_file(tmp_path: Path) -> None:
    report.write_report(tmp_path / "r.json", build())
    text = (tmp_path / "r.json").read_text("utf-8")
    assert "Leber 肝臓" in text
    assert '"shape_kji": [6, 8, 9]' in text
    assert json.loads(text)["objects"][1]["name"] == "[\n 1]"


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_masks_come_back_from_their_runs(mask: np.ndarray) -> None:
    runs = report.encode_mask(mask)
    assert all(run > 0 for run in runs[1:])
    np.testing.assert_array_equal(report.decode_mask(runs, mask.shape), mask)


def test_settings_come_back(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    content = build()
    content["objects"][1]["name"] = "b"
    report.write_report(path, content)
    found = run_file.read_run_file(path)
    assert found.settings == FileSettings(
        model="starter", model_sha256="ab" * 32, image_size=192, stack=SliceStack(), window=SETTINGS.window,
        range=(1, 6), direction="both", directions="one", memory="recency", field_of_view="zoom",
        device="cpu", precision="auto",
        stop=STOP, threshold=0.5, smoothing_mm=0.0, largest="off", fill_holes="off",
    )  # fmt: skip
    assert [(item.name, item.label, item.color) for item in found.objects] == [
        ("Leber 肝臓", 3, (0.9, 0.6, 0.0)), ("b", 7, (0.0, 0.5, 1.0)),
    ]  # fmt: skip


def test_a_region_to_stay_in_comes_back() -> None:
    inside = np.random.default_rng(3).random(GRID.shape_kji) > 0.5
    inside[2] = False
    rules = StopRules(None, max_distance_mm=12.5, inside=inside)
    stored = json.loads(json.dumps(report.describe_rules(rules)))
    assert [one["slice_index"] for one in stored["inside"]["slices"]] == [0, 1, 3, 4, 5]
    stop = run_file.check_run(with_settings(stop=stored), "run").settings.stop
    assert stop is not None
    found = place_rules(stop, GRID.shape_kji)
    assert (found.absent_slices, found.max_distance_mm) == (None, 12.5)
    np.testing.assert_array_equal(found.inside, inside)
    with pytest.raises(PromptError, match=r"\[6, 8, 9\] but the volume \[6, 8, 8\]"):
        place_rules(stop, (6, 8, 8))


def with_prompt(prompt: object) -> dict:
    return {"objects": [{"name": "a", "prompts": [prompt]}]}


def with_settings(**settings: object) -> dict:
    return {**with_prompt({"kind": "points", "points_ras": [[1, 2, 3]], "labels": [1]}), "settings": settings}


def region_of(*slices: object) -> dict:
    return {"shape": [2, 2, 2], "slices": list(slices)}


BAD = [
    ("{", "Not valid JSON"),
    ("[" * 100_000, "Not valid JSON"),
    ("\x80\x04pickle", "Not valid JSON"),
    ([], "Holds no run"),
    ({}, "the file has no list 'objects'"),
    ({"format": "medsam2-run/9", "objects": []}, "which this version cannot read"),
    ({"objects": []}, "list of objects is empty"),
    ({"objects": [3]}, r"objects\[0\] is 3"),
    ({"objects": [{"prompts": []}]}, r"objects\[0\].name is None, which is not text"),
    ({"objects": [{"name": "a\nb", "prompts": []}]}, "is not a name"),
    ({"objects": [{"name": "a"}]}, r"objects\[0\] has no list 'prompts'"),
    ({"objects": [{"name": "a", "label": 0, "prompts": []}]}, "whole number from 1 to 65535"),
    ({"objects": [{"name": "a", "color": [2, 0, 0], "prompts": []}]}, "from 0 to 1"),
    ({"objects": [{"name": "a", "prompts": []}] * 2}, "Two objects have the name 'a'"),
    (with_prompt({"kind": "path", "file": "/etc/passwd"}), "kind is 'path': use points, scribble, box or mask"),
    (with_prompt({"kind": ["box"]}), "use points, scribble, box or mask"),
    (with_prompt({"kind": "scribble", "points_ras": [], "include": True}), "a scribble without points"),
    (with_prompt({"kind": "scribble", "points_ras": [[1, 2, 3]], "include": 1}), "include holds 1: give true or false"),
    (with_prompt({"kind": "scribble", "points_ras": [[1, 2, 3]]}), "include holds None: give true or false"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2]], "labels": [1]}), "not three numbers"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2, "3"]], "labels": [1]}), "not a number"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2, float("nan")]], "labels": [1]}), "not a number"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2, 10**400]], "labels": [1]}), "not a number"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2, True]], "labels": [1]}), "not a number"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2, 3]], "labels": []}), "1 point and 0 labels"),
    (with_prompt({"kind": "points", "points_ras": [[1, 2, 3]], "labels": [2]}), "whole number from 0 to 1"),
    (with_prompt({"kind": "box", "corners_ras": [[1, 2, 3]]}), "has 1 corner:"),
    (with_prompt({"kind": "mask", "slice_index": 0, "shape": [2, 2], "runs": [5]}), "add up to 5"),
    (with_prompt({"kind": "mask", "slice_index": -1, "shape": [2, 2], "runs": [4]}), "whole number from 0"),
    (with_settings(axis=3), "whole number from 0 to 2"),
    (with_settings(range=[1]), "give two slice numbers"),
    (with_settings(memory="all"), "choose self-sorting, recency or pooled"),
    (with_settings(window={"lower": 5, "upper": 5}), "lower limit first"),
    (with_settings(stop={"absent": 3}), "settings.stop.absent is not a rule"),
    (with_settings(stop={"absent_slices": 0}), "whole number from 1"),
    (with_settings(stop={"max_distance_mm": "far"}), "max_distance_mm holds 'far'"),
    (with_settings(stop={"inside": {"shape": [2, 2], "slices": []}}), "inside.shape is .2, 2.: give 3 sizes"),
    (with_settings(stop={"inside": {"shape": [2, 2, 2]}}), "inside has no list 'slices'"),
    (with_settings(stop={"inside": region_of({"slice_index": 2, "runs": [4]})}), "whole number from 0 to 1"),
    (with_settings(stop={"inside": region_of({"slice_index": 0, "runs": [5]})}), "add up to 5 pixels"),
    (with_settings(threshold=1), "threshold is 1: give a number from 0.001 to 0.999"),
    (with_settings(smoothing_mm=-1), "smoothing_mm is -1: give a number from 0"),
    (with_settings(model=5), "not text"),
]


@pytest.mark.parametrize(("content", "problem"), BAD)
def test_a_strange_run_file_gets_one_sentence(tmp_path: Path, content: object, problem: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(PromptError, match=problem) as caught:
        run_file.read_run_file(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    assert "\n" not in text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("ab\n")
    | st.sampled_from(["points", "box", "mask"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["objects", "name", "prompts", "kind", "points_ras", "labels", "corners_ras", "shape", "runs", "stop"]
            ),
            inner,
            max_size=5,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["objects", "settings", "format", "earlier"]), json_values))
def test_no_json_does_harm(tmp_path_factory: pytest.TempPathFactory, content: dict) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "run.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with contextlib.suppress(PromptError):
        run_file.read_run_file(path)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        ({"shape": [9, 8], "runs": [0, 72]}, "but there are 6 slices of 8 x 9 along axis 0"),
        ({"shape": [8, 9], "runs": [0, 72], "axis": 1}, "along axis 1, but there"),
        ({"shape": [8, 9], "runs": [0, 72], "slice_index": 6}, "on slice 6"),
    ],
)
def test_a_mask_that_does_not_fit(tmp_path: Path, mask: dict, problem: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(with_prompt({"kind": "mask", "slice_index": 0, **mask})), encoding="utf-8")
    (item,) = run_file.read_run_file(path).objects
    with pytest.raises(PromptError, match=problem):
        run_file.place_file_prompts(item, Slicing(GRID, 0), path)


def test_where_a_report_cannot_be_written(tmp_path: Path) -> None:
    for name, problem in (
        ("r.txt", "end its name with .json"),
        ("no/r.json", "does not exist"),
        ("d.json", "folder"),
    ):
        (tmp_path / "d.json").mkdir(exist_ok=True)
        with pytest.raises(VolumeError, match=problem):
            report.check_report_path(tmp_path / name)
    report.check_report_path(tmp_path / "r.json")
    assert [item.name for item in tmp_path.iterdir()] == ["d.json"]


def test_the_summary_says_what_matters() -> None:
    liver, empty, whole = summary.summary_lines(build())
    assert liver == (
        "Leber 肝臓: 0.1 mL on 2 slices (1 to 2); lowest confidence 0.90 on slice 2; "
        "backward stopped at slice 1: object absent on 3 slices."
    )
    assert empty.endswith(": Nothing found on slice 4. Try a box, or another window (now: abdomen).")
    assert whole == "2.0 s, 1.5 slices/s (starter, cpu, recency memory, zoom view)"

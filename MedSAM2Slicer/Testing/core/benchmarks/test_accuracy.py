"""What `make accuracy` measures, and the document it makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import accuracy
import accuracy_report
import measuring
from accuracy_report import Heading, Results
from measuring import Job, Source
from medsam2_core.training.cases import Structure
from medsam2_core.training.evaluation import Row, Settings
from medsam2_core.training.policies import Policy
from medsam2_core.weights.checkpoint import save_checkpoint
from readers import ReaderScore

MakeRow = Callable[..., Row]
STRUCTURES = [Structure(label, f"s{label}", 5.0 * label) for label in range(1, 31)]
BASELINES = ("copy", "region growing", "random walker")


# What is measured


def test_structures_are_spread_in_size() -> None:
    assert [one.label for one in measuring.spread(STRUCTURES[::-1], 3)] == [1, 11, 21]
    assert len(measuring.spread(STRUCTURES[:2], 3)) == 2


def test_jobs_are_cut_by_session() -> None:
    job = Job(Source("starter"), Settings(Policy.parse("box"), together=8), tuple(STRUCTURES), baselines=True)
    parts = measuring.split(job)
    assert [len(part.structures) for part in parts] == [8, 8, 8, 6]
    assert [one for part in parts for one in part.structures] == STRUCTURES
    assert all(part.baselines and part.settings is job.settings for part in parts)


def test_the_plan_holds_every_comparison() -> None:
    plan = accuracy.make_plan(Source("starter"), STRUCTURES, 192, quick=False)
    ways = [(job.settings.policy.name, job.settings.memory, job.settings.field_of_view) for job in plan.overall[:-1]]
    prompts = ("box+3", "3-boxes", "click", "3-clicks")
    assert ways[:4] == [(name, "recency", "zoom") for name in prompts]
    assert ways[4:] == [("box", "self-sorting", "zoom"), ("box", "recency", "whole"), ("box", "self-sorting", "whole")]
    assert [job.baselines for job in plan.overall] == [False] * 7 + [True]
    assert len(plan.subset) == 12
    assert [job.source.axis for job in plan.axes.values()] == ["coronal", "sagittal"]
    assert [(size, job.source.image_size) for size, job in plan.sizes.items()] == [(128, 128), (256, 256)]


def test_models_of_other_sizes_get_multiples_of_32() -> None:
    assert list(accuracy.make_plan(Source("x"), STRUCTURES, 512, quick=True).sizes) == [352, 672]
    assert list(accuracy.make_plan(Source("x"), STRUCTURES, 64, quick=True).sizes) == [96]


def test_rows_find_their_places(row: MakeRow) -> None:
    plan = accuracy.make_plan(Source("starter"), STRUCTURES, 192, quick=True)
    names = [one.name for one in plan.overall[0].structures]
    rows = [[row(name, 0.1 * place) for name in names] for place in range(len(plan.overall))]
    rows[0] += [row(name, 0.9, policy="box+1") for name in names]
    rows[1] = [row(name, 0.1, policy="click") for name in names]
    for place, (memory, view) in enumerate(
        [("self-sorting", "zoom"), ("recency", "whole"), ("self-sorting", "whole")], 2
    ):
        rows[place] = [row(name, 0.1 * place, memory=memory, view=view) for name in names]
    rows[-1] = [row(name, 0.5, method="copy") for name in names]
    rows += [[row("128", 0)], [row("256", 0)], [row("coronal", 0)], [row("sagittal", 0)]]
    results = accuracy.sort_results(plan, rows, 192)
    assert len(results.overall) == 7 * 8
    assert {axis: rows[0].structure for axis, rows in list(results.axes.items())[1:]} == {
        "coronal": "coronal", "sagittal": "sagittal",
    }  # fmt: skip
    assert list(results.sizes) == [128, 192, 256]
    assert [one.structure for one in results.sizes[128]] == ["128"]
    assert [one.structure for one in results.axes["axial"]] == [one.name for one in plan.subset]
    assert all(one.policy == "box" and one.dice == 0 for one in results.axes["axial"])


def test_jobs_run_from_files(tmp_path: Path, tiny: object, single_thread: None) -> None:
    """A model and a folder with a ball, along two axes and by the baselines."""
    ball = np.linalg.norm(np.indices((9, 24, 24)) - np.array((4, 12, 12))[:, None, None, None], axis=0) < 4
    folder = tmp_path / "ball"
    folder.mkdir()
    for name, array in (("image", (ball * 200).astype(np.int16)), ("labels", ball.astype(np.uint8))):
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing((2.0, 2.0, 2.0))
        sitk.WriteImage(picture, str(folder / f"{name}.nrrd"))
    save_checkpoint(tmp_path / "model.pt", tiny.state_dict(), tiny.config)
    structures = tuple(measuring.open_case(folder).structures(1))
    settings = Settings(Policy.parse("click"), min_ml=1)
    for axis in ("axial", "coronal"):
        source = Source(str(tmp_path / "model.pt"), folder, axis, 96)
        assert [(one.structure, one.policy) for one in measuring.run(Job(source, settings, structures))] == [
            ("1", "click")
        ]
    classical = measuring.run(Job(source, settings, structures, baselines=True))
    assert [(one.method, one.policy) for one in classical] == [(name, "box") for name in BASELINES]


# The document


@pytest.fixture
def results(row: MakeRow) -> Results:
    overall = [row(name, dice) for name, dice in (("liver", 0.8), ("rib", 0.3))]
    overall += [row(name, dice, policy="box+1") for name, dice in (("liver", 0.75), ("rib", 0.5))]
    overall += [row(name, 0.4, method=method) for method in BASELINES for name in ("liver", "rib")]
    axes = {"axial": overall[:2], "coronal": [row("liver", 0.123)]}
    readers = (ReaderScore(0.87, {"starter": 0.6, "random walker": 0.5}, {"starter": 0.55, "random walker": 0.45}),)
    return Results(overall, axes, {128: [row("liver", 0.456)], 192: overall[:2]}, readers)


def test_the_document(results: Results, tmp_path: Path) -> None:
    path = accuracy_report.write(results, Heading("starter", "ab" * 32, True, False, 5.0), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "| box, recency, zoom | 2 | 0.550 | 0.550 | 0.300 |" in text
    assert all(f"50% of the structures ahead of {name}" in text for name in BASELINES)
    assert "Dice fell by more than 0.02 after 1 of 2 corrections, at most by 0.050" in text
    assert "| coronal | 1 | 0.123 |" in text
    assert "| 128 pixels | 1 | 0.456 |" in text
    assert "| reader 1 | 0.870 | 0.600 | 0.550 | 0.500 | 0.450 |" in text
    assert "| liver | 12 | 0.800 | 0.750 | 0.400 | 0.400 | 0.400 |" in text
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "accuracy-confidence.png", "accuracy-corrections.png", "accuracy-structures.png", "accuracy.md",
    ]  # fmt: skip


def test_another_volume_has_neither_source_nor_readers(results: Results, tmp_path: Path) -> None:
    without = Results(results.overall, results.axes, results.sizes)
    path = accuracy_report.write(without, Heading("starter", "ab" * 32, False, True, 5.0), tmp_path)
    assert "LIDC" not in path.read_text(encoding="utf-8")
    assert "A quick look" in path.read_text(encoding="utf-8")


def test_corrections_that_only_help_are_no_drop(row: MakeRow) -> None:
    groups = accuracy_report._grouped([row("a", 0.5), row("a", 0.9, policy="box+1"), row("a", 0.2, policy="3-boxes")])
    assert accuracy_report.corrections(groups) == pytest.approx([-0.4])

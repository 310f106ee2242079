"""`make corrections`: what a correction after a propagation changes; writes docs/corrections.md.

As a user corrects, through the controller and a worker: one box, the whole volume as range; then the worst slice is
given its reference mask, as with Paint, and only the slices from the prompted one before it to the one behind it are
drawn again. Needs slicer-core. Nothing may be tuned on the demo's CT; `--case` takes another volume.

    python benchmarks/corrections.py              every structure of 5 mL and more
    python benchmarks/corrections.py --quick      eight of them
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

import headless
from measuring import MIN_ML, Source, open_case, single_thread, spread
from medsam2_core.arrays import Mask
from medsam2_core.training.cases import Case, Structure
from medsam2_core.training.evaluation import first_prompts
from medsam2_core.training.metrics import dice
from medsam2_core.training.policies import Policy, worst_slice
from medsam2_core.weights.model_file import find_model
from report_tables import table

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROUNDS = 3
_QUICK_STRUCTURES = 8
_OBJECT = 1
_TO_RISE, _TO_FALL = 0.9, 0.01  # wanted: the share of structures that rise; Dice that none loses more of

_INTRODUCTION = """One box on the structure's largest slice, off by up to 3 % of its sides on each edge, is propagated
through the whole volume. A correction then gives the worst slice (lowest Dice; of several, the one with most wrong
pixels) its reference mask, as another tool of Segment Editor would, and propagates from there to the prompted slices on
both sides, or to the end of the volume where there is none. Each further correction starts from what the one before
left. All of it goes through the controller, as in Slicer.

Between the corrected slice and an older prompt only the corrected slice's track is new; what the older prompt's track
drew stays, and a voxel gets the mean of both probabilities, weighted by distance, confidence and the area that the
prompts tell of.

Rise: share of structures whose Dice rises. Falls: structures that lose more than 0.01, and the largest loss. Outside:
voxels beyond the interval that changed. Masks: drawn by a correction. Encoded: views of slices that went through the
image encoder for it; of these, new: on slices that were never looked at for this structure, since its tracks had
stopped before. The others are slices whose earlier view does not hold the structure as corrected.
"""
_HEADINGS = (
    "correction", "n", "Dice before", "after", "rise", "falls", "largest fall", "outside", "masks", "encoded", "new",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Correction:
    """What one correction did: the slice, Dice before and after, and the work it took.

    `outside` counts voxels that changed beyond the interval, `masks` the slices drawn, both directions counted,
    `encoded` the views encoded, at least `unseen` of them on slices without an answer before.
    """

    structure: str
    volume_ml: float
    number: int
    slice_index: int
    before: float
    after: float
    outside: int
    masks: int
    encoded: int
    unseen: int
    seconds: float

    @property
    def gain(self) -> float:
        """By how much Dice rose; negative if it fell."""
        return self.after - self.before


def main() -> None:
    """Measure, then write the document."""
    options = _options()
    source = Source(options.model, options.case)
    structures = open_case(options.case).structures(MIN_ML)
    if options.quick:
        structures = spread(structures, _QUICK_STRUCTURES)
    done = measure(source, structures, options.processes)
    model = find_model(options.model)
    quick = " A quick look, not the whole measurement." if options.quick else ""
    volume = "the demo's chest CT, never trained or tuned on" if options.case is None else options.case.name
    origin = (
        f"Written by `make corrections`; model `{model.name}`, sha256 `{model.sha256()[:16]}`, {len(structures)} "
        f"structures of at least {MIN_ML:g} mL of {volume}.{quick}\n"
    )
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "corrections.md"
    path.write_text(document(origin, done), encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--case", type=Path, help="folder with image.* and labels.* to use in place of the demo's CT")
    parser.add_argument("--quick", action="store_true", help="a few structures")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for corrections.md")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


def measure(source: Source, structures: Sequence[Structure], processes: int) -> list[Correction]:
    """Correct each structure `ROUNDS` times; processes of one thread each share the work."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), single_thread) as pool:
        running = [pool.submit(_run, source, structure) for structure in structures]
        for _ in tqdm(as_completed(running), "correcting", len(running)):
            pass
        return [one for job in running for one in job.result()]


def _run(source: Source, structure: Structure) -> list[Correction]:
    case = open_case(source.folder, source.axis)
    with headless.new_scene(), headless.worker() as client:
        return list(correct(client, source.model, case, structure, ROUNDS))


def correct(
    client: headless.WorkerClient, model: str, case: Case, structure: Structure, rounds: int
) -> Iterator[Correction]:
    """Box a structure, propagate, and correct its worst slice so often; fewer times if nothing is wrong any more."""
    wanted = case.mask(structure)
    upright = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*case.spacing[::-1], 1.0])
    editor = headless.Editor(client, headless.volume_node(case.image, upright), headless.RunOptions(model=model))
    (prompt,) = first_prompts(case, structure, Policy.parse("box"), seed=0)
    prompt.give(editor, _OBJECT)
    editor.propagate()
    exact: set[int] = set()
    for number in range(1, rounds + 1):
        found, known = editor.mask, set(editor.controller.review.slices())
        index = worst_slice(found, wanted, exact)
        if index is None:
            break
        exact.add(index)
        span = editor.paint(index, wanted[index])
        encoded, started = editor.encoder_runs(), time.perf_counter()
        drawn = editor.propagate()
        seconds, after = time.perf_counter() - started, editor.mask
        yield Correction(
            structure.name,
            structure.volume_ml,
            number,
            index,
            dice(found, wanted),
            dice(after, wanted),
            outside=_changed_outside(found, after, range(*span)),
            masks=len(drawn),
            encoded=editor.encoder_runs() - encoded,
            unseen=len({index, *drawn} - known),
            seconds=seconds,
        )
    editor.close()


def _changed_outside(before: Mask, after: Mask, span: range) -> int:
    changed = before ^ after
    return int(np.count_nonzero(changed[: span.start]) + np.count_nonzero(changed[span.stop :]))


# The document


def document(origin: str, done: Sequence[Correction]) -> str:
    """The whole text: all corrections of each round in one line, then every structure."""
    rounds = [[one for one in done if one.number == number] for number in sorted({one.number for one in done})]
    return "\n".join(
        [
            "# Corrections\n",
            origin,
            _INTRODUCTION,
            table(_HEADINGS, [_summary(one) for one in rounds]),
            findings(rounds[0]),
            "## Dice of each structure\n",
            _structures(rounds),
        ]
    )


def _summary(done: Sequence[Correction]) -> list[str]:
    gains = [one.gain for one in done]

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in done]))

    return [
        str(done[0].number),
        str(len(done)),
        f"{mean('before'):.3f}",
        f"{mean('after'):.3f}",
        f"{_risen(done):.0%}",
        str(len(_fallen(done))),
        f"{max(0.0, -min(gains)):.3f}",
        str(sum(one.outside for one in done)),
        *(f"{mean(name):.1f}" for name in ("masks", "encoded", "unseen", "seconds")),
    ]


def findings(first: Sequence[Correction]) -> str:
    """Say whether first corrections do what is wanted of them."""
    names = ", ".join(f"{one.structure} ({one.gain:+.3f})" for one in sorted(_fallen(first), key=lambda one: one.gain))
    falls = f"these fall by more than {_TO_FALL}: {names}" if names else f"none falls by more than {_TO_FALL}"
    return (
        f"With the first correction Dice rises in {_risen(first):.0%} of the structures ({_TO_RISE:.0%} are wanted); "
        f"{falls} (none is wanted).\n"
    )


def _risen(done: Sequence[Correction]) -> float:
    return sum(one.gain > 0 for one in done) / len(done)


def _fallen(done: Sequence[Correction]) -> list[Correction]:
    return [one for one in done if one.gain < -_TO_FALL]


def _structures(rounds: Sequence[Sequence[Correction]]) -> str:
    """Dice from the box and after each correction, with the corrected slices."""
    later = [{one.structure: one for one in done} for done in rounds]
    lines = []
    for first in sorted(rounds[0], key=lambda one: one.gain):
        steps = [done.get(first.structure) for done in later]
        cells = ["" if one is None else f"{one.after:.3f} ({one.slice_index})" for one in steps]
        lines.append([first.structure, f"{first.volume_ml:.0f}", f"{first.before:.3f}", *cells])
    headings = ("structure", "mL", "box", *(f"{done[0].number} (slice)" for done in rounds))
    return table(headings, lines)


if __name__ == "__main__":
    main()

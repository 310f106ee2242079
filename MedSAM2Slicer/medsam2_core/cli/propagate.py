"""`medsam2 propagate`: from prompts on a few slices to a segmentation of the volume."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from medsam2_core.cli.edge import INTERRUPTED
from medsam2_core.cli.room import require_address_space
from medsam2_core.counting import are, counted
from medsam2_core.job.options import add_job_options

if TYPE_CHECKING:
    from medsam2_core.job.execute import Outcome
    from medsam2_core.job.plan import Plan

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """examples:
  medsam2 propagate ct.nii.gz --output liver.seg.nrrd --box 89,211,370,388@43
  medsam2 propagate ct.nii.gz --output organs.seg.nrrd --window abdomen --range 20:110 \\
          --object liver --box 89,211,370,388@43 --object spleen --point 383,222,42 --report run.json
  medsam2 propagate ct.nii.gz --output again.seg.nrrd --prompts run.json
  medsam2 propagate cine.dcm --output cine.seg.nrrd --box 310,150,390,260@0 --sheet cine.html

Ctrl+C ends a run after the current slice; the slices that are done are written. Not for clinical use.
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add `propagate`; it sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "propagate",
        help="segment objects of a volume from prompts on a few slices",
        description="Segment objects of a volume from prompts on a few slices.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=propagate)
    add_job_options(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress and no summary")


def propagate(arguments: argparse.Namespace) -> int:
    """Check everything, run the model, write the segmentation and the report; returns the exit code."""
    require_address_space()
    from medsam2_core.cli.signals import stopping
    from medsam2_core.job.execute import execute, open_drafts, write
    from medsam2_core.job.plan import make_plan
    from medsam2_core.job.sheet import write_sheet
    from medsam2_core.stopping import CancelToken

    plan, stop = make_plan(arguments), CancelToken()
    with open_drafts(plan) as drafts, stopping(stop):
        outcome = execute(plan, arguments.quiet, stop)
        write(plan, outcome, drafts)
        if plan.sheet is not None:
            write_sheet(plan, plan.sheet, outcome)
        _tell(plan, outcome, arguments.quiet)
    return INTERRUPTED if outcome.interrupted else 0


def _tell(plan: Plan, outcome: Outcome, quiet: bool) -> None:
    from medsam2_core.cli.summary import summary_lines

    if not quiet:
        print("\n".join(summary_lines(outcome.report)))
        written = plan.output, plan.report, plan.sheet, plan.disagreement
        print("Written: " + " and ".join(str(path) for path in written if path))
    if outcome.interrupted:
        kept = f"{counted(outcome.slices_done, 'slice')} {are(outcome.slices_done)}"
        print(f"Interrupted: {kept} done and kept in {plan.output}.", file=sys.stderr)

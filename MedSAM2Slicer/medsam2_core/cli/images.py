"""`medsam2 images`: from prompts on one image, or a few, to masks of a whole set in any order."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from medsam2_core.cli.edge import INCOMPLETE, INTERRUPTED
from medsam2_core.cli.room import require_address_space
from medsam2_core.counting import are, counted
from medsam2_core.job.image_prompts import add_image_prompt_options
from medsam2_core.job.paths import path_argument
from medsam2_core.job.setting_options import add_options

if TYPE_CHECKING:
    from medsam2_core.job.image_plan import SetPlan
    from medsam2_core.job.image_run import SetOutcome

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """examples:
  medsam2 images photos/ --prompt photos/a.png --box 120,140,300,330 --output result
  medsam2 images photos/ --prompts result/prompts.json --prompt photos/b.png --point 80,95 --output result
  medsam2 images photos/ --output result --prompt photos/a.png --object disc --box 510,600,700,800 \\
          --object cup --point 600,690 --prompt photos/c.png --object cup --absent

Written are masks/NAME.png (label values, 0 is background), results.csv, prompts.json and index.html, which shows the
most doubtful images first; and for images of one size masks.seg.nrrd. A file that cannot be read is skipped, and the
exit code is 3 then. Ctrl+C ends a run after the current image; what is done is written. Not for clinical use.
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add `images`; it sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "images",
        help="segment a set of 2D images from prompts on one of them",
        description="Segment objects in a set of 2D images, in any order and of any size, from prompts on one of them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=images)
    parser.add_argument(
        "images",
        type=path_argument,
        nargs="+",
        metavar="IMAGE|FOLDER",
        help="PNG, JPEG, TIFF, BMP, DICOM, 2D NIfTI, NRRD, MHA",
    )
    parser.add_argument("--output", type=path_argument, required=True, metavar="DIR", help="folder for the results")
    add_image_prompt_options(parser)
    settings = parser.add_argument_group("settings")
    settings.add_argument(
        "--order",
        choices=("free", "arrival"),
        default="free",
        help="free: results do not depend on the order; arrival: as they come, as in the paper (default: free)",
    )
    settings.add_argument(
        "--memory",
        default="self-sorting",
        metavar="BANK",
        help="with --order arrival: self-sorting (default) or recency",
    )
    settings.add_argument("--seed", type=int, help="with --order arrival: seed of the self-sorting memory (default: 0)")
    settings.add_argument(
        "--window", metavar="NAME|LEVEL/WIDTH|auto", help="for gray images (default: auto, each its own)"
    )
    add_options(settings, "model", "device", "precision")
    parser.add_argument("--quiet", action="store_true", help="show no progress and no summary")


def images(arguments: argparse.Namespace) -> int:
    """Check everything, run the model, write the results as they come; returns the exit code."""
    require_address_space()
    from medsam2_core.cli.signals import stopping
    from medsam2_core.job.image_plan import make_set_plan
    from medsam2_core.job.image_run import run_set
    from medsam2_core.stopping import CancelToken

    plan, stop = make_set_plan(arguments), CancelToken()
    with stopping(stop):
        outcome = run_set(plan, arguments, stop)
    _tell(plan, outcome, arguments.quiet)
    if outcome.interrupted:
        return INTERRUPTED
    return INCOMPLETE if plan.skipped else 0


def _tell(plan: SetPlan, outcome: SetOutcome, quiet: bool) -> None:
    if not quiet:
        print("\n".join(outcome.lines))
        print(f"Written: {plan.output / 'index.html'}")
    if plan.skipped:
        count = len(plan.skipped)
        print(f"Incomplete: {counted(count, 'file')} {are(count)} skipped, see the notes above.", file=sys.stderr)
    if outcome.interrupted:
        kept = f"{counted(outcome.done, 'image')} {are(outcome.done)}"
        print(f"Interrupted: {kept} done and kept in {plan.output}.", file=sys.stderr)

"""`medsam2 sequence`: volumes of several moments, from prompts in one of them to masks and a curve of the volume."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from medsam2_core.cli.edge import INTERRUPTED
from medsam2_core.cli.room import require_address_space
from medsam2_core.counting import are, counted
from medsam2_core.job.options import add_shared_options
from medsam2_core.job.paths import path_argument
from medsam2_core.job.prompt_options import add_prompt_options

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """examples:
  medsam2 sequence heart4d.nii.gz --at 0 --object ventricle --box 60,70,120,130@5 --output result --full 0 --empty 9
  medsam2 sequence phase*.nrrd --box 60,70,120,130@5 --output result
  medsam2 sequence dicom-folder/ --series 3 --at 2 --point 90,100,5 --output result

Volumes are a 4D NIfTI file, the phases of a DICOM series, or one file for each moment. Written are frame_NNN.seg.nrrd,
volumes.csv (mL in each frame) and volumes.svg, the curve. Ctrl+C keeps the frames that are done. Not for clinical use.
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add `sequence`; it sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "sequence",
        help="segment objects in volumes of several moments (4D)",
        description="Carry objects through the volume of one moment, where they are prompted, and then through time.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=sequence, report=None, sheet=None, disagreement=None, resample=False, prompts=None)
    parser.add_argument(
        "volumes", type=path_argument, nargs="+", metavar="VOLUME", help="4D NIfTI, DICOM folder, or volumes"
    )
    parser.add_argument("--series", metavar="N|UID", help="which DICOM series, if there are several; see medsam2 info")
    parser.add_argument("--output", type=path_argument, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--at", type=int, default=0, metavar="N", help="the frame of the prompts (default: 0)")
    parser.add_argument("--full", type=int, metavar="N", help="frame of the largest volume, for the ejection fraction")
    parser.add_argument("--empty", type=int, metavar="N", help="frame of the smallest volume")
    add_prompt_options(parser)
    add_shared_options(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress and no summary")


def sequence(arguments: argparse.Namespace) -> int:
    """Check everything, run the model, write the results as they come; returns the exit code."""
    require_address_space()
    from medsam2_core.cli.signals import stopping
    from medsam2_core.job.moments import make_moments, run_moments
    from medsam2_core.stopping import CancelToken

    plan, stop = make_moments(arguments), CancelToken()
    with stopping(stop):
        lines, done = run_moments(plan, arguments.quiet, stop)
    if not arguments.quiet:
        print("\n".join([*lines, f"Written: {plan.output / 'volumes.csv'}"]))
    if stop.cancelled:
        kept = f"{done} of {counted(len(plan.volumes), 'frame')} {are(len(plan.volumes))}"
        print(f"Interrupted: {kept} done and kept in {plan.output}.", file=sys.stderr)
        return INTERRUPTED
    return 0

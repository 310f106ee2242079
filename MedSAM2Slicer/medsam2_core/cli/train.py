"""`medsam2 train`: train a model, or fine-tune a checkpoint, as a configuration file says."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medsam2_core.cli.room import require_address_space
from medsam2_core.errors import WeightsError
from medsam2_core.job.paths import path_argument
from medsam2_core.job.setting_options import add_options

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLE = """a configuration that fine-tunes a checkpoint on your own volumes:
  {
    "model": "starter",
    "start_from": "starter.pt",
    "data": {"my-data": 1.0},
    "phases": [{"steps": 200, "length": 4, "clips": 4}],
    "learning_rate": 2e-5
  }
my-data holds NAME/image.nii.gz and NAME/labels.nii.gz for each volume; folders are relative to where you are.
On several GPUs: torchrun --nproc-per-node 4 --no-python medsam2 train CONFIG --output FOLDER
Ctrl+C is safe: the same command resumes from the last saved state. The result is FOLDER/model.pt.
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add `train`; it sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "train",
        help="train or fine-tune a model",
        description="Train a model, or fine-tune a checkpoint.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=train)
    parser.add_argument("config", type=path_argument, metavar="CONFIG", help="training configuration, JSON")
    parser.add_argument(
        "--output",
        type=path_argument,
        required=True,
        metavar="FOLDER",
        help="folder of the run; give it again to resume",
    )
    add_options(parser, "device")


def train(arguments: argparse.Namespace) -> int:
    """Train, or resume training, and print the checkpoint's path; returns the exit code."""
    require_address_space()
    from medsam2_core.training.config import load_config
    from medsam2_core.training.loop import train as run_training
    from medsam2_core.training.ranks import joined

    config = load_config(arguments.config)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(
            f"{arguments.output} cannot be created ({error.strerror}): choose another --output."
        ) from error
    with joined(arguments.device) as ranks:
        path = run_training(config, arguments.output, ranks)
    if ranks.is_first:
        print(path)
    return 0

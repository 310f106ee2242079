"""The `medsam2` command. Only what a sub-command needs is imported, so that help and errors come at once.

Nothing but the edge is imported before it stands: until then Ctrl+C is answered by a traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from medsam2_core.cli.edge import REFUSED, run_at_edge


class _Parser(argparse.ArgumentParser):
    """Answers wrong options with one sentence; the usage alone would fill a screen."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(REFUSED, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from medsam2_core.version import package_version

        print(f"medsam2 {package_version()}")
        parser.exit()


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's) and return the exit code; see `edge.run_at_edge`."""

    def command() -> int:
        from medsam2_core.job.prompt_options import join_negative_values
        from medsam2_core.processor import share_cores

        share_cores()
        words = sys.argv[1:] if arguments is None else arguments
        options = _parser().parse_args(join_negative_values(words))
        code: int = options.command(options)
        return code

    return run_at_edge(command, is_last=arguments is None)


def _parser() -> argparse.ArgumentParser:
    from medsam2_core.cli import (
        batch,
        benchmark,
        doctor,
        evaluate,
        images,
        info,
        models,
        propagate,
        sequence,
        train,
        worker,
    )

    parser = _Parser(
        prog="medsam2",
        description="Segment medical volumes with MedSAM-2: one prompt, a memory bank, every slice.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (propagate, images, sequence, batch, models, train, evaluate, worker, doctor, info, benchmark):
        module.add_parser(commands)
    return parser

"""`make benchmark`: speed and memory beside the programs that users would run instead; writes docs/performance.md.

The same weights, volume, prompts and machine for all. Each measurement has a process of its own; the contenders take
turns, in several rounds. Only what is compared within a round counts, since machines are not the same at all times.

    python benchmarks/speed.py                      20 minutes on two cores
    python benchmarks/speed.py --quick              two minutes: smaller images, fewer slices, one round
    python benchmarks/speed.py --image-size 1024 --long 64 128 256 512
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

import open_data
import open_packages
from contenders import OURS_SHORT, available
from medsam2_core.processor import share_cores
from speed_document import Key, Measured, Outcome, document, draw
from speed_trial import Found, Trial

DOCS = Path(__file__).resolve().parents[1] / "docs"
_PICTURE = Path("pictures") / "performance.svg"
_TRIAL = Path(__file__).with_name("speed_trial.py")
_OBJECTS = (1, 4, 8)
# Ends by itself when this program was killed.
_COMPUTE = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


class Sizes(NamedTuple):
    """How much is measured: pixels of the model's image, slices, and rounds."""

    image_size: int
    slices: int  # of the first propagation and the correction
    slices_of_objects: int  # where objects are counted
    long: Sequence[int]  # slices of the runs whose time per slice is compared
    long_image_size: int
    large: int  # pixels of the model's image where one run, of few slices, shows what larger images cost
    slices_of_large: int
    rounds: int


QUICK = Sizes(256, 8, 4, (16, 32), 256, 512, 2, 1)
CPU = Sizes(512, 16, 8, (64, 128), 256, 1024, 4, 3)
CUDA = Sizes(512, 96, 96, (64, 128), 512, 1024, 32, 3)


def main() -> None:
    """Measure, then write the document and its picture."""
    share_cores()
    options = _options()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    volume = _volume()
    found = {device: measure(device, sizes(device, options), volume) for device in devices}
    outcome = Outcome(found, volume, options.quick)
    (options.output / _PICTURE).parent.mkdir(parents=True, exist_ok=True)
    draw(outcome, options.output / _PICTURE)
    path = options.output / "performance.md"
    path.write_text(document(outcome, _PICTURE.as_posix()), encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look in two minutes")
    parser.add_argument("--image-size", type=int, help="of the model, in pixels (default: 512)")
    parser.add_argument("--long", type=int, nargs="+", metavar="N", help="slices of the long runs (default: 64 128)")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for performance.md and its picture")
    return parser.parse_args()


def sizes(device: str, options: argparse.Namespace) -> Sizes:
    """How much to measure on a device."""
    given = {"image_size": options.image_size, "long": options.long, "rounds": options.rounds}
    chosen = QUICK if options.quick else CUDA if device == "cuda" else CPU
    return chosen._replace(**{name: value for name, value in given.items() if value is not None})


def _volume() -> str:
    try:
        open_data.chest_ct()
    except open_packages.OpenDataError as error:
        print(f"A synthetic volume in place of the demo's CT: {error}", file=sys.stderr)
        return "synthetic"
    return "ct"


def trials(device: str, size: Sizes, volume: str) -> Iterator[tuple[str, Trial]]:
    """The first round: what is measured, by name, the contenders one right after the other."""
    basis = Trial("ours", size.slices, image_size=size.image_size, device=device, volume=volume)
    names = list(available(device))
    several = replace(basis, slices=size.slices_of_objects)
    compared = [("main", basis)]
    compared += [(f"objects {count}", replace(several, objects=count)) for count in _OBJECTS]
    compared += [
        (f"long {count}", replace(basis, slices=count, image_size=size.long_image_size)) for count in size.long
    ]
    compared.append(("large", replace(basis, slices=size.slices_of_large, image_size=size.large)))
    for label, trial in compared:
        yield from ((label, replace(trial, contender=name)) for name in names)
    yield "floor", replace(basis, contender="floor")
    if OURS_SHORT in names:
        yield "floor, bfloat16", replace(basis, contender="floor", precision="bfloat16")
    if device == "cpu":
        yield "active", replace(several, wait="ACTIVE")
        yield "idle", several
        yield "busy", replace(several, busy=os.cpu_count() or 1)


def measure(device: str, size: Sizes, volume: str) -> Measured:
    """Run all rounds, large images once; what was found of each label and contender, a round each."""
    plan = list(trials(device, size, volume))
    rounds = [plan, *[[one for one in plan if one[0] != "large"]] * (size.rounds - 1)]
    found = defaultdict[Key, list[Found]](list)
    with tqdm(total=sum(map(len, rounds)), unit=" runs") as bar:
        for label, trial in (one for planned in rounds for one in planned):
            bar.set_description(f"{device}, {label}, {trial.contender}")
            found[label, trial.contender].append(_found(trial))
            bar.update()
    return Measured({(label, trial.contender): trial for label, trial in plan}, dict(found))


def _found(trial: Trial) -> Found:
    """What a trial finds; nothing if it fails, so that the others are not lost."""
    try:
        return run(trial)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return {}


def run(trial: Trial) -> Found:
    """Measure in a process of its own. Raises RuntimeError with what it said if it fails."""
    environment = {**os.environ, "OMP_WAIT_POLICY": trial.wait, "TQDM_DISABLE": "1"}
    command = [sys.executable, str(_TRIAL), json.dumps(asdict(trial))]
    with _busy(trial.busy):
        done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"{trial} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many other processes that compute meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", _COMPUTE]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()

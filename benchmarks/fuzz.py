"""Damaged files: each must be taken or be refused in one sentence, within seconds, and never end the program.

`make fuzz` mutates small DICOM, NIfTI, NRRD, MHA, segmentation, JSON and CSV files, gives each to the command line in a
process of its own that lives until something kills it, and lists every traceback, abort, hang and odd exit code with
the number that makes the file again: `python benchmarks/fuzz.py --only NUMBER --keep FOLDER`.
"""

from __future__ import annotations

import argparse
import contextlib
import io as streams
import json
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from medsam2_core import io
from medsam2_core.cli import main, propagate
from medsam2_core.cli.edge import run_at_edge
from medsam2_core.image.geometry import Geometry

FILES = 10_000
LONGEST_SECONDS = 10.0
_MEMORY_BYTES = 8 << 30  # so that a header that asks for terabytes is answered as on any computer
_SUPPORT = Path(__file__).parents[1] / "MedSAM2Slicer/Testing/support"
_SHAPE = (4, 6, 5)
_NUMBERS = (b"0", b"-1", b"1e309", b"nan", b"4294967296", b"99999999999999999999", b"", b"\xff", b"(", b";")

Mutation = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Fault:
    """A file that ended otherwise than it may."""

    number: int
    kind: str
    what: str


def seeds(folder: Path) -> dict[str, Path]:
    """One good file, or folder of files, of each kind."""
    sys.path.insert(0, str(_SUPPORT))
    import dicomfiles
    from pydicom.uid import RLELossless

    array = np.random.default_rng(0).integers(-500, 500, _SHAPE).astype(np.int16)
    grid = Geometry(_SHAPE, (0.7, 0.8, 2.5), (1, 2, 3), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_ijk)
    image.SetOrigin(grid.origin_lps)
    for name in ("image.nii", "image.nii.gz", "image.nrrd", "image.mha", "image.img"):
        sitk.WriteImage(image, str(folder / name))
    found = {name: folder / name for name in ("image.nii", "image.nii.gz", "image.nrrd", "image.mha")}
    found["pair.img"] = folder / "image.hdr"
    segments = [io.Segment("liver", 1, (1, 0, 0))]
    io.write_labelmap(folder / "mask.seg.nrrd", (array > 300).astype(np.uint8), grid, segments)
    found["mask.seg.nrrd"] = folder / "mask.seg.nrrd"
    found["series"] = dicomfiles.save_series(folder / "series", array)
    positions = [(0.0, 0.0, 2.5 * k) for k in range(len(array))]
    found["enhanced.dcm"] = dicomfiles.save(dicomfiles.enhanced(array, positions), folder / "enhanced.dcm")
    packed = dicomfiles.dataset(array[0])
    packed.compress(RLELossless)
    found["packed.dcm"] = dicomfiles.save(packed, folder / "packed.dcm")
    prompts = [{"kind": "box", "corners_ras": [[-1, -2, 8], [-3, -4, 8]]}, {"kind": "mask", "slice_index": 1}]
    prompts[1] |= {"shape": [6, 5], "runs": [7, 3, 20]}
    run = {"objects": [{"name": "liver", "prompts": prompts}], "settings": {"range": [0, 4], "axis": 0}}
    found["run.json"] = folder / "run.json"
    found["run.json"].write_text(json.dumps(run, indent=1), encoding="utf-8")
    found["labels.csv"] = folder / "labels.csv"
    found["labels.csv"].write_bytes('label;name\r\n1;Leber\r\n2;"Milz; links"\r\n'.encode("utf-8-sig"))
    return found


def mutated(chance: random.Random, content: bytes) -> bytes:
    """The content with one to four kinds of damage."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        content = chance.choice(_MUTATIONS)(chance, content)
    return content


def _flip(chance: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice((1, 3, 20))):
        if data:
            data[_place(chance, len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(data)


def _cut(chance: random.Random, content: bytes) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _drop(chance: random.Random, content: bytes) -> bytes:
    start = _place(chance, len(content) + 1)
    return content[:start] + content[start + chance.choice((1, 2, 8, 100)) :]


def _insert(chance: random.Random, content: bytes) -> bytes:
    start = _place(chance, len(content) + 1)
    return content[:start] + chance.choice((*_NUMBERS, chance.randbytes(8), content[:64])) + content[start:]


def _renumber(chance: random.Random, content: bytes) -> bytes:
    """Another number in place of one that is written in letters."""
    places = [place for place, byte in enumerate(content[:4096]) if 48 <= byte <= 57]
    if not places:
        return _flip(chance, content)
    start = chance.choice(places)
    return content[:start] + chance.choice(_NUMBERS) + content[start + 1 :]


def _place(chance: random.Random, count: int) -> int:
    """A place, half of the time near the start, where headers are."""
    return chance.randrange(min(count, 400) if chance.random() < 0.5 else count) if count else 0


_MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _drop, _insert, _renumber)


def damage(number: int, good: dict[str, Path], folder: Path) -> tuple[str, Path]:
    """Make the file of that number in an empty folder; its kind, and where it lies."""
    chance = random.Random(number)
    kind = sorted(good)[number % len(good)]
    source = good[kind]
    if source.is_dir():
        target = Path(shutil.copytree(source, folder / source.name))
        victims = chance.sample(sorted(target.iterdir()), chance.choice((1, 1, 3)))
    else:
        target = Path(shutil.copy(source, folder / source.name))
        if source.suffix == ".hdr":
            shutil.copy(source.with_suffix(".img"), folder)
        victims = [target]
    for victim in victims:
        victim.write_bytes(mutated(chance, victim.read_bytes()))
    return kind, target


def try_file(kind: str, path: Path, good: dict[str, Path]) -> int:
    """Give a damaged file to the part of the program that takes it; the exit code."""
    if kind == "labels.csv":
        return _read_case(path, good)
    if kind in ("run.json", "mask.seg.nrrd"):
        code = _plan(["--prompts" if kind == "run.json" else "--mask", str(path)], good["image.nii"])
        return max(code, main.run(["info", str(path)]))
    return main.run(["info", str(path)])


def _read_case(path: Path, good: dict[str, Path]) -> int:
    from medsam2_core.training.cases import read_case

    for name in ("image", "labels"):
        shutil.copy(good["image.nrrd"], path.with_name(f"{name}.nrrd"))
    return run_at_edge(lambda: read_case(path.parent) and 0)  # type: ignore[func-returns-value, return-value]


def _plan(words: list[str], volume: Path) -> int:
    """All that a propagation does before it loads the model."""
    from medsam2_core.job.plan import make_plan

    parser = argparse.ArgumentParser()
    propagate.add_parser(parser.add_subparsers())
    output = str(volume.with_name("out.nii"))
    options = parser.parse_args(["propagate", str(volume), "--output", output, *words])
    return run_at_edge(lambda: make_plan(options) and 0)  # type: ignore[func-returns-value, return-value]


def _serve(pipe: Connection, good: dict[str, Path]) -> None:
    """Try files by their numbers until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (number := pipe.recv()) is not None:
        with tempfile.TemporaryDirectory(prefix="medsam2-fuzz-") as folder:
            kind, path = damage(number, good, Path(folder))
            pipe.send((kind, None))
            pipe.send((kind, judged(kind, path, good)))


def judged(kind: str, path: Path, good: dict[str, Path]) -> str:
    """Say 0 or 2 where all is well, else what is not."""
    out, err = streams.StringIO(), streams.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = try_file(kind, path, good)
    except BaseException:  # noqa: BLE001 (that is what is looked for)
        return traceback.format_exc(limit=-4)
    refusals = [line for line in err.getvalue().splitlines() if not line.startswith("Note: ")]
    if code == 0 and not refusals:
        return "0"
    return "2" if code == 2 and refusals and all(line.endswith(".") for line in refusals) else f"{code}: {refusals}"


class _Server:
    """A process that tries files; another one takes its place when it ends."""

    def __init__(self, good: dict[str, Path]) -> None:
        self._good = good
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._good), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, number: int) -> tuple[str, str]:
        """The kind of a file, and what came of it."""
        kind = "?"
        self._pipe.send(number)
        try:
            kind, _ = self._pipe.recv()
            if self._pipe.poll(LONGEST_SECONDS):
                return self._pipe.recv()
            what = f"hangs for more than {LONGEST_SECONDS:.0f} s"
        except (EOFError, ConnectionResetError):
            self._process.join()
            what = f"ends the program with {self._process.exitcode}"
        self.stop()
        self._start()
        return kind, what

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def fuzz(numbers: Iterable[int]) -> tuple[Counter[tuple[str, str]], list[Fault]]:
    """Try the files of these numbers; how many of each kind ended how, and what ended as it may not."""
    counts: Counter[tuple[str, str]] = Counter()
    faults = []
    with tempfile.TemporaryDirectory(prefix="medsam2-seeds-") as folder:
        good = seeds(Path(folder))
        server = _Server(good)
        for number in numbers:
            kind, what = server.ask(number)
            counts[kind, what if what in ("0", "2") else "fault"] += 1
            if what not in ("0", "2"):
                faults.append(Fault(number, kind, what))
        server.stop()
    return counts, faults


def run() -> int:
    """The command line of this benchmark."""
    parser = argparse.ArgumentParser(description="Damaged files, each taken or refused in one sentence.")
    parser.add_argument("--files", type=int, default=FILES, help=f"how many (default: {FILES})")
    parser.add_argument("--only", type=int, help="the number of one file")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the file there, and do not try it")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as folder:
            print(*damage(options.only, seeds(Path(folder)), options.keep))
        return 0
    started = time.monotonic()
    counts, faults = fuzz(range(options.files) if options.only is None else [options.only])
    for kind in sorted({kind for kind, _ in counts}):
        taken, refused, wrong = (counts[kind, what] for what in ("0", "2", "fault"))
        print(f"{kind:15}{taken:6} taken {refused:6} refused {wrong:4} faults")
    for fault in faults:
        print(f"{fault.number} {fault.kind}: {fault.what}")
    print(f"{sum(counts.values())} files, {len(faults)} faults, {time.monotonic() - started:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(run())

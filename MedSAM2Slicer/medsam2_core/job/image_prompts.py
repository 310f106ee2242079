"""The prompts of `medsam2 images`: options and files of prompts as text, each with its image and its object.

Nothing here knows an image; `image_plan` gives the prompts a place in one.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medsam2_core.counting import counted
from medsam2_core.errors import PromptError
from medsam2_core.files.text import TextError, read_json
from medsam2_core.job.paths import path_argument, path_of
from medsam2_core.job.prompt_options import DEFAULT_OBJECT, InOrder
from medsam2_core.run.names import checked_name
from medsam2_core.run.values import items, mapping, number, text, whole

Kind = Literal["point", "exclude", "box", "mask", "absent"]
_KINDS: tuple[Kind, ...] = ("point", "exclude", "box", "mask", "absent")
_COUNTS = {"point": 2, "exclude": 2, "box": 4}
_FRAME = re.compile(r"(.+)@(\d+)")


@dataclass(frozen=True)
class ImagePrompt:
    """One prompt: of which object, in which frame of which image; `where` begins messages about it.

    `numbers` are x, y of a point or x0, y0, x1, y1 of a box, in pixels; `mask` is FILE or FILE:LABEL.
    """

    image: Path
    frame: int
    name: str
    kind: Kind
    numbers: tuple[float, ...] = ()
    mask: str = ""

    @property
    def where(self) -> str:
        """What the user wrote, as in a command line."""
        value = self.mask or ",".join(f"{value:g}" for value in self.numbers)
        return f"{self.image}: --{self.kind} {value}".rstrip()


def add_image_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add --prompt, --object, --point, --exclude, --box, --mask and --absent, all in `namespace.typed`; --prompts."""
    group = parser.add_argument_group(
        "prompts", "Each belongs to the --prompt and the --object before it. Coordinates are pixels, 0,0 the first one."
    )
    for option, metavar, summary in (
        ("--prompt", "FILE[@FRAME]", "the image that the next prompts are in; frames count from 0"),
        ("--object", "NAME", f"the object that the next prompts are of (default: {DEFAULT_OBJECT})"),
        ("--point", "X,Y", "a point inside the object"),
        ("--exclude", "X,Y", "a point outside the object"),
        ("--box", "X0,Y0,X1,Y1", "two corners of a box around the object"),
        ("--mask", "FILE[:LABEL]", "an image of the same size that is not 0 where the object is"),
    ):
        group.add_argument(option, action=InOrder, dest="typed", metavar=metavar, help=summary)
    group.add_argument(
        "--absent", action=InOrder, dest="typed", nargs=0, help="the object is not in the image of the last --prompt"
    )
    group.add_argument(
        "--prompts", type=path_argument, metavar="FILE.json", help="prompts of an earlier run, which writes them"
    )


def parse_image_prompts(typed: Sequence[tuple[str, Any]]) -> list[ImagePrompt]:
    """The prompts in the order they were typed. Raises PromptError for what cannot be read, or has no image."""
    found: list[ImagePrompt] = []
    image: tuple[Path, int] | None = None
    name = DEFAULT_OBJECT
    for option, value in typed:
        if option == "--prompt":
            image = _image(value)
        elif option == "--object":
            name = checked_name(value, "--object")
        elif image is None:
            raise PromptError(f"{option} {value or ''}".rstrip() + " has no image: put --prompt FILE before it.")
        else:
            found.append(_prompt(*image, name, option.removeprefix("--"), value))
    return found


def read_image_prompts(path: Path) -> list[ImagePrompt]:
    """The prompts of a JSON file as `prompts_json` makes it; images and masks as seen from its folder.

    Raises PromptError for a file that cannot be read or holds something else, or names a file that is not there.
    """
    try:
        raw = items(mapping(read_json(path), str(path)), "prompts", str(path))
    except OSError as error:
        raise PromptError(f"{path}: Cannot be read ({error.strerror or error}): check the path.") from error
    except TextError as error:
        raise PromptError(f"{path}: Cannot be read ({error}): give prompts.json of an earlier result.") from error
    return [_read(mapping(one, f"{path}: prompt {place}"), path, place) for place, one in enumerate(raw, 1)]


def prompts_json(prompts: Sequence[ImagePrompt]) -> str:
    """All prompts as JSON, with absolute paths."""
    rows = [
        {
            "image": str(one.image.resolve()),
            "frame": one.frame,
            "object": one.name,
            "kind": one.kind,
            **({"numbers": list(one.numbers)} if one.numbers else {}),
            **({"mask": _absolute(one.mask)} if one.mask else {}),
        }
        for one in prompts
    ]
    return json.dumps({"prompts": rows}, indent=1, ensure_ascii=False) + "\n"


def _absolute(mask: str) -> str:
    path, label = mask_and_label(mask)
    return str(path.resolve()) + ("" if label is None else f":{label}")


def mask_and_label(text: str) -> tuple[Path, int | None]:
    """FILE and LABEL of FILE:LABEL; a file of the whole text goes first."""
    path, colon, label = text.rpartition(":")
    if colon and path and label.isdecimal() and not Path(text).is_file():
        return path_of(path), int(label)
    return path_of(text), None


def _image(value: str) -> tuple[Path, int]:
    found = None if Path(value).is_file() else _FRAME.fullmatch(value)
    return (path_of(value), 0) if found is None else (path_of(found[1]), int(found[2]))


def _prompt(image: Path, frame: int, name: str, kind: str, value: Any) -> ImagePrompt:
    if kind == "mask":
        mask_and_label(value)  # refuses an empty one
        return ImagePrompt(image, frame, name, "mask", mask=value)
    if kind == "absent":
        return ImagePrompt(image, frame, name, "absent")
    wanted = _COUNTS[kind]
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != wanted or not all(abs(value) < 1e9 for value in numbers):
        example = "120,85" if wanted == 2 else "100,60,180,140"
        raise PromptError(f"--{kind} {value!r} cannot be read: write {wanted} numbers such as {example}.")
    known = next(one for one in _KINDS if one == kind)
    return ImagePrompt(image, frame, name, known, numbers)


def _read(raw: dict[str, Any], path: Path, place: int) -> ImagePrompt:
    where = f"{path}: prompt {place}"
    kind = text(raw.get("kind"), f"{where}.kind")
    known = next((one for one in _KINDS if one == kind), None)
    if known is None:
        raise PromptError(f"{where}.kind is {kind!r}: choose one of {', '.join(_KINDS)}.")
    numbers = tuple(
        number(one, f"{where}.numbers") for one in (items(raw, "numbers", where) if known in _COUNTS else ())
    )
    if len(numbers) != _COUNTS.get(known, 0):
        raise PromptError(
            f"{where}.numbers holds {counted(len(numbers), 'number')}: give {_COUNTS[known]} for a {known}."
        )
    return ImagePrompt(
        Path(_named(raw, "image", where, path.parent)),
        whole(raw.get("frame", 0), f"{where}.frame", 0, 1 << 31),
        checked_name(text(raw.get("object"), f"{where}.object"), f"{where}.object"),
        known,
        numbers,
        _named(raw, "mask", where, path.parent) if known == "mask" else "",
    )


def _named(raw: dict[str, Any], key: str, where: str, folder: Path) -> str:
    """The file that a prompt names, of a mask with its label. Raises PromptError unless it is there."""
    if raw.get(key) in (None, ""):
        raise PromptError(f"{where} names no {key}: write the path of its file there, as {key!r}.")
    named = str(folder / text(raw[key], f"{where}.{key}"))
    file = mask_and_label(named)[0] if key == "mask" else Path(named)
    if not file.is_file():
        raise PromptError(f"{where}.{key} is {file}, which is not a file: correct it, as seen from {folder.resolve()}.")
    return named

"""The images of many files as one sequence, read when they are asked for."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam2_core.arrays import Array
from medsam2_core.errors import VolumeError
from medsam2_core.image.pixels import ImageFacts
from medsam2_core.image.window import Window
from medsam2_core.io.pictures import Picture, read_pictures, stem

_KEPT_BYTES = 1 << 28


@dataclass(frozen=True)
class Place:
    """Where an image is: its file, and which of the `count` frames there."""

    path: Path
    frame: int
    count: int


class PictureFiles:
    """The pixels of images by their places. A file's frames are read together; few files are kept."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = list(places)
        self._kept: OrderedDict[Path, list[Picture]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Array:
        place = self._places[index]
        if place.path not in self._kept:
            self._kept[place.path] = read_pictures(place.path)
        self._kept.move_to_end(place.path)
        while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return self._kept[place.path][place.frame].array


def look_through(
    paths: Iterable[Path], window: str | None, refused: Callable[[VolumeError], None]
) -> Iterator[tuple[Place, ImageFacts]]:
    """Read every file once; gives each image, and to `refused` what is wrong with a file that has none.

    `window` is the text of one for gray images; without it, or with "auto", each has its own.
    """
    for path in paths:
        try:
            found = _look_into(path, window)
        except VolumeError as error:  # noqa: PERF203 (the other files are read all the same)
            refused(error)
        else:
            yield from found


def _look_into(path: Path, window: str | None) -> list[tuple[Place, ImageFacts]]:
    pictures = read_pictures(path)
    return [
        (Place(path, frame, len(pictures)), ImageFacts.of(one.array, _window(window, one), one.spacing))
        for frame, one in enumerate(pictures)
    ]


def result_names(places: Sequence[Place]) -> list[str]:
    """A name for the result of each image: its file's without ending, with more of it where two would be the same."""
    names = [_base(place, stem(place.path)) for place in places]
    for more in (_with_ending, _with_folder):
        taken = Counter(name.casefold() for name in names)
        names = [
            _base(place, more(place.path)) if taken[name.casefold()] > 1 else name
            for name, place in zip(names, places, strict=True)
        ]
    return _numbered(names)


def _base(place: Place, name: str) -> str:
    return name if place.count == 1 else f"{name}_{place.frame:04d}"


def _with_ending(path: Path) -> str:
    return path.name.replace(".", "_")


def _with_folder(path: Path) -> str:
    return f"{path.resolve().parent.name}_{_with_ending(path)}"


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, those that came before with a number."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        choices = (name if number == 1 else f"{name}_{number}" for number in range(1, len(names) + 2))
        free = next(choice for choice in choices if choice.casefold() not in taken)
        taken.add(free.casefold())
        found.append(free)
    return found


def _window(text: str | None, picture: Picture) -> Window | None:
    return None if text is None or picture.array.ndim == 3 else Window.parse(text, picture.array)


def _size(pictures: Sequence[Picture]) -> int:
    return sum(one.array.nbytes for one in pictures)

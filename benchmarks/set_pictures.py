"""Draw the pictures of docs/image-sets.md from files within reach, with the starter: fundus, cine and shuffled slices.

python benchmarks/set_pictures.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

matplotlib.use("Agg")
from matplotlib import pyplot
from PIL import Image

import medsam2_core as m2
import open_pictures
from measuring import open_case, single_thread
from medsam2_core.arrays import Mask
from medsam2_core.image.window import Window
from medsam2_core.image_set import ImageSetSession
from medsam2_core.io import read_volume
from medsam2_core.io.pictures import read_pictures
from sets import make_set

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
DISC = (190.0, 545.0, 318.0, 758.0)  # the optic disc in the photograph
_VENTRICLE = (308.0, 150.0, 392.0, 262.0)  # the left ventricle's cavity in the first frame
_SHOWN = 6
_SIDE, _DPI = 1.6, 80  # inches, and dots in each


@dataclass(frozen=True)
class Shown:
    """A picture with its mask, what stands over it, and the box it was prompted with."""

    pixels: npt.NDArray[np.uint8]
    mask: Mask
    title: str
    box: tuple[float, float, float, float] | None = None


def visits(photo: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.uint8]]:
    """One photograph, and five that are made of it as visits of one patient might be; the last one is another eye."""
    return {
        "box": photo,
        "darker": (photo * 0.7).astype(np.uint8),
        "moved": np.roll(photo, (40, 60), axis=(0, 1)),
        "closer": photo[120:1290, 40:1210],
        "brighter": (255 * (photo / 255) ** 0.7).astype(np.uint8),
        "mirrored": photo[:, ::-1],
    }


def fundus(model: Any) -> Iterator[Shown]:
    """A photograph of an eye and others of it, with a box on the first one."""
    (photo,) = (one.array for one in read_pictures(open_pictures.fundus()))
    images = visits(photo)
    session = ImageSetSession(model, [np.ascontiguousarray(one) for one in images.values()])
    session.add_box(1, 0, DISC)
    yield from _answers(session, list(images.values()), list(images), 0, DISC)


def slices(model: Any) -> Iterator[Shown]:
    """The first shuffled slices of the liver, a third of the set without it."""
    one = make_set(open_case(), "liver", absent=True, seed=0)
    window = Window.ct("abdomen")
    session = ImageSetSession(model, list(one.images), window=window)
    session.add_box(1, one.prompted, one.box)
    shown = [window.to_uint8(image) for image in one.images]
    answers = list(_answers(session, shown, [""] * len(shown), one.prompted, one.box))
    others = [answer for index, answer in enumerate(answers) if index != one.prompted]
    yield from [answers[one.prompted], *others[: _SHOWN - 1]]


def cine(model: Any) -> Iterator[Shown]:
    """Frames of the echocardiogram, which is followed from the first one."""
    volume = read_volume(open_pictures.echo_cine(), colors=True)
    session = m2.VolumeSession(model, volume.array, volume.geometry.spacing_kji)
    session.add_box(1, 0, _VENTRICLE)
    for _ in session.propagate():
        pass
    masks = session.mask(1)
    for index in np.linspace(0, len(masks) - 1, _SHOWN).astype(int):
        yield Shown(volume.array[index], masks[index], f"frame {index}", _VENTRICLE if index == 0 else None)


def _answers(
    session: ImageSetSession, images: Sequence[Any], titles: Sequence[str], prompted: int, box: Any
) -> Iterator[Shown]:
    answers = session.segment()
    for index, (pixels, title) in enumerate(zip(images, titles, strict=True)):
        sure = session.certainty(index)[1]
        text = f"{title or ('box' if index == prompted else '')} {sure:.2f}".strip()
        yield Shown(pixels, answers[index][1].mask, text, box if index == prompted else None)


def draw(path: Path, shown: Sequence[Shown]) -> None:
    """Draw pictures in a row."""
    figure, axes = pyplot.subplots(1, len(shown), figsize=(_SIDE * len(shown), _SIDE + 0.2), dpi=_DPI)
    for axis, one in zip(axes, shown, strict=True):
        axis.imshow(one.pixels, cmap="gray")
        if one.mask.any():
            axis.contour(one.mask, levels=[0.5], colors=["#00c8ff"], linewidths=1.2)
        if one.box is not None:
            x0, y0, x1, y1 = one.box
            axis.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="#ffd000", linewidth=1)
        axis.set_title(one.title, fontsize=7, pad=2)
        axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 0.9, 0.02, 0)
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")  # type: ignore[attr-defined]
    drawn.quantize(128).save(path, optimize=True)
    pyplot.close(figure)


def main() -> None:
    """Draw all three."""
    single_thread()
    model = m2.load_model("starter", device="cpu")
    for name, answers in (("fundus", fundus), ("cine", cine), ("slices", slices)):
        path = PICTURES / f"set-{name}.png"
        draw(path, list(answers(model)))
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()

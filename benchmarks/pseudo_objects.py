"""Objects without names: regions of a real image whose borders can be seen, found by watershed and by thresholds.

An image without labels thus teaches following things of real texture. Each label map holds regions of one coarseness,
so that the same place belongs to small, larger and nested objects.
"""

# SimpleITK ships without type annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.filters import threshold_multiotsu
from skimage.segmentation import watershed

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_SCALES = (1.0, 2.5)  # smoothing in voxels within the slice, before the slope is taken
_JOINED = (0.4, 0.65)  # share of the borders between basins, the faintest, across which they are joined
_CLASSES = (2, 3, 4)  # thresholds of Otsu's method
_SMALLEST, _LARGEST = 300, 0.25  # voxels; share of the volume
_CLEAR = 1.6  # slope along a region's border, in that of its inside: what counts as a border
_MOST = 400  # regions of a map, the largest


def pseudo_objects(image: sitk.Image) -> Iterator[tuple[str, sitk.Image]]:
    """Find label maps (0: no object) on the grid of an image in [0, 1], each with a name."""
    slope = _slope(image, _SCALES[0])
    for scale in _SCALES:
        coarse = _slope(image, scale)
        basins = watershed(coarse).astype(np.int64)
        for share in _JOINED:
            yield f"basins-{scale:g}-{share:g}", _like(image, _clear(_join(basins, coarse, share), slope))
    smooth = sitk.SmoothingRecursiveGaussian(image, [s * _SCALES[0] for s in image.GetSpacing()])
    for count in _CLASSES:
        yield f"classes-{count}", _like(image, _clear(_parts(smooth, count), slope))


def _slope(image: sitk.Image, scale: float) -> Floats:
    """Gradient magnitude per voxel of the smoothed image; slices lie apart, so their axis is smoothed by one."""
    columns, rows, slices = image.GetSpacing()
    smooth = sitk.SmoothingRecursiveGaussian(image, [scale * columns, scale * rows, slices])
    return np.asarray(sitk.GetArrayFromImage(sitk.GradientMagnitude(smooth, False)))


def _join(basins: Labels, slope: Floats, share: float) -> Labels:
    """Join neighboring basins across the faintest borders."""
    pairs, heights = [], []
    for axis in range(3):
        label, height = np.moveaxis(basins, axis, 0), np.moveaxis(slope, axis, 0)
        differs = label[1:] != label[:-1]
        pairs.append(np.sort(np.stack([label[1:][differs], label[:-1][differs]]), axis=0))
        heights.append(np.maximum(height[1:], height[:-1])[differs])
    count = int(basins.max()) + 1
    low, high = np.concatenate(pairs, axis=1)
    borders, place = np.unique(low * count + high, return_inverse=True)
    faint = _means(place, np.concatenate(heights), len(borders))
    joined = borders[faint <= np.quantile(faint, share)]
    graph = coo_array((np.ones(len(joined)), (joined // count, joined % count)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1][basins], dtype=np.int64) + 1


def _parts(smooth: sitk.Image, count: int) -> Labels:
    """Connected parts of each class of intensities, cut where they hang together by a thread."""
    values = sitk.GetArrayViewFromImage(smooth)
    limits = threshold_multiotsu(values[:, ::3, ::3], count + 1, nbins=64)
    found = np.zeros(values.shape, dtype=np.int64)
    for low, high in itertools.pairwise((-np.inf, *limits, np.inf)):
        inside = sitk.GetImageFromArray(((values >= low) & (values < high)).astype(np.uint8))
        opened = sitk.BinaryMorphologicalOpening(inside, (2, 2, 0))
        parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(opened)).astype(np.int64)
        found += (parts + found.max()) * (parts > 0)
    return found


def _clear(labels: Labels, slope: Floats) -> npt.NDArray[np.uint16]:
    """Keep the largest regions that a clear border surrounds, and renumber them."""
    chosen = _chosen(labels, slope)
    number = np.zeros(int(labels.max()) + 1, dtype=np.uint16)
    number[chosen] = np.arange(1, len(chosen) + 1)
    return number[labels]


def _like(image: sitk.Image, labels: npt.NDArray[np.uint16]) -> sitk.Image:
    made = sitk.GetImageFromArray(labels)
    made.CopyInformation(image)
    return made


def _chosen(labels: Labels, slope: Floats) -> Labels:
    border = _border(labels)
    sizes = np.bincount(labels.ravel())
    at_border, inside = (_means(labels[part], slope[part], len(sizes)) for part in (border, ~border))
    good = (sizes >= _SMALLEST) & (sizes <= _LARGEST * labels.size) & (at_border > _CLEAR * inside)
    good[0] = False
    chosen = np.flatnonzero(good)
    return chosen[np.argsort(-sizes[chosen])][:_MOST]


def _means(labels: Labels, values: Floats, count: int) -> npt.NDArray[np.float64]:
    sums = np.bincount(labels, values, count)
    return np.asarray(sums / np.maximum(np.bincount(labels, minlength=count), 1))


def _border(labels: Labels) -> npt.NDArray[np.bool_]:
    """Voxels beside another label of the same slice."""
    border = np.zeros(labels.shape, dtype=bool)
    for axis in (1, 2):
        moved, edge = np.moveaxis(labels, axis, 0), np.moveaxis(border, axis, 0)
        differs = moved[1:] != moved[:-1]
        edge[1:] |= differs
        edge[:-1] |= differs
    return border

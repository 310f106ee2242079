"""Image embeddings of slices: computed once for each slice and region, kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from medsam2_core.feature_folder import FeatureFolder
from medsam2_core.image.pixels import CPU, PixelStack
from medsam2_core.image.region import Region
from medsam2_core.model import SAM2, ImageFeatures

View = tuple[int, Region]
"""A slice and the part of it that is looked at."""

BATCH = 8
"""Views encoded together at most."""


class EmbeddingCache:
    """Features of views of one stack by one model. The ones used longest ago go first when `max_bytes` is reached.

    What is in a `folder` is not encoded, and what is encoded is kept there.
    """

    def __init__(
        self, model: SAM2, stack: PixelStack, max_bytes: int = 1 << 30, folder: FeatureFolder | None = None
    ) -> None:
        self._model, self._stack, self._max_bytes = model, stack, max_bytes
        self.folder = folder
        self._kept: OrderedDict[View, ImageFeatures] = OrderedDict()
        self._bytes = 0
        self.works_ahead = model.device.type != "cpu"
        """Whether views are encoded before they are asked for, to fill a batch. A processor takes as long for each."""
        self.encoded = 0
        """Views that went through the image encoder so far."""
        self.hits = 0
        """Views that were asked for and still kept so far, in memory or in the folder."""

    @property
    def bytes(self) -> int:
        """Bytes kept, on the model's device."""
        return self._bytes

    def limit(self, max_bytes: int) -> None:
        """Keep at most `max_bytes` from now on (but always the last view), dropping the ones used longest ago."""
        self._max_bytes = max_bytes
        self._shrink()

    def get(self, views: Sequence[View], ahead: Iterable[View] = ()) -> ImageFeatures:
        """Return the features of the views as one batch, in their order.

        Views `ahead` are those that will be asked for next.
        """
        wanted = dict.fromkeys(views)
        missing = [view for view in wanted if view not in self._kept]
        self.hits += len(wanted) - len(missing)
        if missing and self.works_ahead:
            missing += self._to_fill(len(wanted), len(missing), ahead)
        for start in range(0, len(missing), BATCH):
            self.hits += len(wanted.keys() & self._take(missing[start : start + BATCH]))
        for view in wanted:
            self._kept.move_to_end(view)
        features = ImageFeatures.stack([self._kept[view] for view in views])
        self._shrink()
        return features

    def get_shared(self, views: Sequence[View], ahead: Iterable[View] = ()) -> tuple[ImageFeatures, list[int] | None]:
        """As `get`, without repeats, since objects may look at the same; and which of them each view is.

        None stands for views of which none repeats.
        """
        found = list(dict.fromkeys(views))
        return self.get(found, ahead), None if len(found) == len(views) else [found.index(view) for view in views]

    def _to_fill(self, wanted: int, missing: int, ahead: Iterable[View]) -> list[View]:
        """The views ahead that fill the batch, no more than can be kept beside those that are wanted."""
        room = self._max_bytes * len(self._kept) // max(self._bytes, 1) - wanted  # none before the first is known
        unseen = (view for view in dict.fromkeys(ahead) if view not in self._kept)
        return list(islice(unseen, max(min(-missing % BATCH, room), 0)))

    def _take(self, views: Sequence[View]) -> set[View]:
        """Keep the features of views, encoded but for those that are in the folder, which are returned."""
        size, device = self._model.config.image_size, self._model.device
        images = [region.cut(self._stack.image(index, _resizing(device)), size) for index, region in views]
        found = [None if self.folder is None else self.folder.find(image) for image in images]
        unseen = [image for image, features in zip(images, found, strict=True) if features is None]
        encoded = self._encode(unseen)
        for view, features in zip(views, found, strict=True):
            self._kept[view] = features or next(encoded)
            self._bytes += _size(self._kept[view])
        return {view for view, features in zip(views, found, strict=True) if features is not None}

    def _encode(self, images: Sequence[Tensor]) -> Iterator[ImageFeatures]:
        if not images:
            return
        batch = self._model.encode(_batch(images).to(self._model.device))
        self.encoded += len(images)
        for row, image in enumerate(images):
            # Copies, since a row of the batch would keep the whole batch alive.
            features = ImageFeatures(*(level[row : row + 1].clone() for level in batch))
            if self.folder is not None:
                self.folder.keep(image, features)
            yield features

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)


def _resizing(device: torch.device) -> torch.device:
    """Where slices for a model on `device` are resized: there if it can, which Apple's GPUs cannot before torch 2.7."""
    return device if device.type == "cuda" else CPU


def _batch(images: Sequence[Tensor]) -> Tensor:
    """Images (rows, columns), or in color (3, rows, columns), as one batch (B, 1 or 3, rows, columns)."""
    channels = 3 if any(image.ndim == 3 for image in images) else 1
    return torch.stack([image.expand(channels, *image.shape[-2:]) for image in images])


def _size(features: ImageFeatures) -> int:
    return sum(level.numel() * level.element_size() for level in features)

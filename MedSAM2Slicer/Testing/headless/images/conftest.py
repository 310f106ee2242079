"""Four images with a disc each, and a controller on them with the real worker and the starter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def volumes(nodes: Any) -> list[Any]:
    """See `imagesbench.discs`."""
    from imagesbench import discs

    return discs(nodes)


@pytest.fixture
def bench(client: Any, volumes: list[Any]) -> Iterator[Any]:
    """An `ImagesBench` on the volumes."""
    from imagesbench import ImagesBench

    from MedSAM2SlicerLib.images.volumeimages import VolumeImages

    client.setModel("starter", "cpu")
    made = ImagesBench(client, VolumeImages(volumes))
    yield made
    made.controller.close()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the worker is asked."""
    from MedSAM2SlicerLib.worker.connection import Connection

    seen: list[str] = []
    send = Connection.send

    def note(self: Connection, header: dict[str, Any], payloads: Any = ()) -> None:
        seen.append(header["request"])
        send(self, header, payloads)

    monkeypatch.setattr(Connection, "send", note)
    return seen

"""Put trained weights into the product: half precision, with size and sha256 in the catalogue, logs beside them.

Takes the folders of the training's stages in order: runs/starter-1 runs/starter-2 runs/starter-3.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from medsam2_core.weights.catalogue import models_folder
from medsam2_core.weights.checkpoint import read_checkpoint, save_checkpoint

_LARGEST = 15_000_000  # bytes; the extension ships the file


def main(stages: Sequence[Path]) -> None:
    """Take `log.csv` of the folder of each stage of the training, and `model.pt` of the last."""
    folder = models_folder()
    checkpoint = read_checkpoint(stages[-1] / "model.pt")
    half = {name: value.to(torch.float16) for name, value in checkpoint.state.items()}
    target = folder / "starter.pt"
    save_checkpoint(target, half, checkpoint.config)
    if target.stat().st_size > _LARGEST:
        sys.exit(f"{target} has {target.stat().st_size} bytes, more than {_LARGEST}.")
    for number, stage in enumerate(stages, start=1):
        shutil.copy(stage / "log.csv", folder / f"starter.training-{number}.csv")
    _enter(folder / "models.json", target, checkpoint.config.image_size)


def _enter(catalogue: Path, target: Path, image_size: int) -> None:
    content = json.loads(catalogue.read_text(encoding="utf-8"))
    (entry,) = (entry for entry in content["models"] if entry["name"] == "starter")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    entry |= {"bytes": target.stat().st_size, "sha256": digest, "image_size": image_size}
    catalogue.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {entry['bytes']} bytes, sha256 {digest}")


if __name__ == "__main__":
    main([Path(stage) for stage in sys.argv[1:]])

"""Put trained weights into the product: half precision, with size and sha256 in the catalog, logs beside them.

For example with `runs/starter-1 runs/starter-2 --model runs/starter-12 --image-size 256 --object-bias -0.75`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from medsam2_core.weights.catalog import models_folder
from medsam2_core.weights.checkpoint import read_checkpoint, save_checkpoint

_LARGEST = 15_000_000  # bytes; the extension ships the file
_OBJECT_BIAS = "sam_mask_decoder.pred_obj_score_head.layers.2.bias"


def main() -> None:
    """Take `log.csv` of the folder of each stage of the training, and `model.pt` of the last, or of `--model`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", type=Path, help="folders of the training's stages, in order")
    parser.add_argument("--first", type=int, default=1, help="number of the first of these stages")
    parser.add_argument("--model", type=Path, help="folder of model.pt, if not that of the last stage")
    parser.add_argument("--object-bias", type=float, default=0.0, help="added to the logit of the object being there")
    parser.add_argument("--image-size", type=int, help="pixels; that of the last stage if it is not given")
    options = parser.parse_args()
    folder = models_folder()
    checkpoint = read_checkpoint((options.model or options.stages[-1]) / "model.pt")
    config = replace(checkpoint.config, image_size=options.image_size or checkpoint.config.image_size)
    checkpoint.state[_OBJECT_BIAS] += options.object_bias
    half = {name: value.to(torch.float16) for name, value in checkpoint.state.items()}
    target = folder / "starter.pt"
    save_checkpoint(target, half, config)
    if target.stat().st_size > _LARGEST:
        sys.exit(f"{target} has {target.stat().st_size} bytes, more than {_LARGEST}.")
    for number, stage in enumerate(options.stages, start=options.first):
        shutil.copy(stage / "log.csv", folder / f"starter.training-{number}.csv")
    _enter(folder / "models.json", target, config.image_size)


def _enter(catalog: Path, target: Path, image_size: int) -> None:
    content = json.loads(catalog.read_text(encoding="utf-8"))
    (entry,) = (entry for entry in content["models"] if entry["name"] == "starter")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    entry |= {"bytes": target.stat().st_size, "sha256": digest, "image_size": image_size}
    catalog.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {entry['bytes']} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()

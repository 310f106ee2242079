"""Average checkpoints of equal models, weight by weight: runs of one start that saw different clips agree better so.

For example `python benchmarks/mean_weights.py runs/starter-8 runs/starter-9 --output runs/starter-89`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from medsam2_core.weights.checkpoint import read_checkpoint, save_checkpoint


def main() -> None:
    """Take `model.pt` of each run's folder and write that of another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--output", type=Path, required=True, help="folder for model.pt")
    options = parser.parse_args()
    found = [read_checkpoint(run / "model.pt") for run in options.runs]
    mean = {name: torch.stack([one.state[name].float() for one in found]).mean(dim=0) for name in found[0].state}
    options.output.mkdir(parents=True, exist_ok=True)
    save_checkpoint(options.output / "model.pt", mean, found[0].config)


if __name__ == "__main__":
    main()

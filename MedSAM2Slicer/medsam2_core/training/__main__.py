"""`python -m medsam2_core.training CONFIG.json FOLDER`: train, or go on training, in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from medsam2_core.training.config import load_config
from medsam2_core.training.loop import train

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m medsam2_core.training", description="Train a model.")
    parser.add_argument("config", type=Path, help="training configuration, JSON")
    parser.add_argument("folder", type=Path, help="where the run keeps its state; give it again to resume")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    print(train(load_config(options.config), options.folder, torch.device(options.device)))

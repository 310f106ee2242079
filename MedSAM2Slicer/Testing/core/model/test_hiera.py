"""The trunk's windows, against what they are defined to be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medsam2_core.model.hiera import HieraBlock, join_windows, split_windows
from medsam2_core.model.positions import resized_window_code

pytestmark = pytest.mark.usefixtures("single_thread")


def plainly(block: HieraBlock, x: torch.Tensor) -> torch.Tensor:
    """The block, one window after the other, each with zeros where the map does not reach."""
    size, part = block.window, 1 + block.pool
    height, width = x.shape[1:3]
    normed = block.norm1(x)
    padded = F.pad(normed, (0, 0, 0, -width % size, 0, -height % size))
    rows = [
        torch.cat([block.attn(padded[:, y : y + size, x : x + size]) for x in range(0, padded.shape[2], size)], dim=2)
        for y in range(0, padded.shape[1], size)
    ]
    attended = torch.cat(rows, dim=1)[:, : height // part, : width // part]
    shortcut = x if block.proj is None else block.proj(normed)
    if block.pool:
        shortcut = F.max_pool2d(shortcut.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    y = shortcut + attended
    return y + block.mlp(block.norm2(y))


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(("height", "width", "window"), [(8, 12, 4), (10, 8, 4), (6, 14, 8), (32, 32, 14)])
def test_windows_attend_each_by_itself(height: int, width: int, window: int, pool: bool) -> None:
    torch.manual_seed(0)
    block = HieraBlock(8, 16 if pool else 8, num_heads=2, window=window, pool=pool)
    x = torch.randn(3, height, width, 8)
    torch.testing.assert_close(block(x), plainly(block, x))


def test_windows_are_split_and_joined() -> None:
    x = torch.randn(2, 6, 9, 5)
    windows = split_windows(x, 3)
    assert windows.shape == (2 * 6, 3, 3, 5)
    torch.testing.assert_close(windows[4], x[0, 3:6, 3:6])
    torch.testing.assert_close(join_windows(windows, 6, 9), x)


def test_what_is_computed_in_parts_is_compiled_as_a_whole() -> None:
    """Written down part by part, the encoder of a training's batch took more than six minutes to compile."""
    block, products = HieraBlock(8, 8, num_heads=2, window=4, pool=False), []

    def count(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        products.append(sum("linear" in str(node.target) for node in graph.graph.nodes))
        return graph

    x = torch.randn(4, 64, 64, 8)
    torch.testing.assert_close(torch.compile(block, backend=count)(x), block(x))
    assert products == [4]  # qkv, proj and the two of the MLP


def test_learned_codes_are_stretched_bicubically() -> None:
    background, window = torch.randn(1, 5, 7, 7), torch.randn(1, 5, 8, 8)
    wanted = F.interpolate(background, size=(32, 48), mode="bicubic") + window.tile(1, 1, 4, 6)
    torch.testing.assert_close(resized_window_code(background, window, 32, 48), wanted, atol=1e-5, rtol=1e-5)

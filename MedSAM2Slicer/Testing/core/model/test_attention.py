"""Attention as plain products, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medsam2_core.model.attention import attend

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("queries", "keys"), [(16, 64), (36, 144), (144, 144), (300, 300), (600, 200)])
def test_heads_attend_as_in_float64(queries: int, keys: int, precision: torch.dtype) -> None:
    """Of windows and of whole maps, with few keys and many; two bytes round the logits, too."""
    random = torch.Generator().manual_seed(queries)
    query, key, value = (torch.randn(2, 3, count, 24, generator=random) for count in (queries, keys, keys))
    rounded = [part.to(precision) for part in (query, key, value)]
    exact = F.scaled_dot_product_attention(*(part.double() for part in rounded))
    answer = attend(*rounded)
    assert answer.dtype == precision
    assert answer.shape == exact.shape
    assert float((answer - exact).abs().mean()) < (1e-5 if precision == torch.float32 else 0.001)


def test_many_keys_in_two_bytes_are_multiplied_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since torch's kernel for CPUs is no faster in two bytes than in four."""
    called = []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *parts: called.append(parts[1].shape[2]) or parts[0])
    for precision, keys in ((torch.float32, 300), (torch.bfloat16, 64), (torch.bfloat16, 300)):
        x = torch.zeros(1, 2, keys, 24, dtype=precision)
        attend(x, x, x)
    assert called == [300, 64]

"""The convolution over a text against sums over offsets."""

import torch

from kemm.batch import Stream
from kemm.fusion import LocalContext
from tests.fusion import loops


def test_equals_sums_over_neighbours_that_are_real() -> None:
    fusion = loops.noisy(LocalContext(4, reach=2))
    assert isinstance(fusion, LocalContext)
    torch.manual_seed(0)
    x, mask = torch.randn(2, 6, 4).double(), torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    fused = fusion({"text": Stream(x, mask)}, {}, None)["text"]  # type: ignore[arg-type]
    weight, bias = fusion.convolution.weight.detach(), fusion.convolution.bias
    assert bias is not None
    for row in range(2):
        for place in range(int(mask[row].sum())):
            total = bias.detach().clone()
            for offset in range(-2, 3):
                other = place + offset
                if 0 <= other < 6 and mask[row, other]:
                    total += weight[:, :, offset + 2] @ x[row, other]
            torch.testing.assert_close(fused.x[row, place], loops.norm(fusion.norm, x[row, place] + loops.gelu(total)), rtol=0, atol=1e-12)

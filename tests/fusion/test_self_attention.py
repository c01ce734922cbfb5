"""A stream that reads itself, against loops."""

import torch

from kemm.batch import Stream
from kemm.fusion import SelfAttention
from kemm.model import FusionModel
from tests.fusion import loops


def test_is_an_attention_block_over_real_places() -> None:
    torch.manual_seed(0)
    fusion = loops.noisy(SelfAttention("text", 6, 2))
    assert isinstance(fusion, SelfAttention)
    x, mask = torch.randn(2, 3, 6).double(), torch.tensor([[True, True, False], [True, True, True]])
    found = fusion({"text": Stream(x, mask)}, {}, FusionModel({}))["text"]
    for row in range(2):
        expected = loops.attention_block(fusion.attention, list(x[row]), mask[row].tolist())
        torch.testing.assert_close(found.x[row].detach(), torch.stack(expected), rtol=1e-9, atol=1e-9)
    assert torch.equal(found.mask, mask)

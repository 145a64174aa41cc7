"""Names of devices, and the precision that is fast on them."""

import pytest
import torch

from vasa.device import choose_device, fast_precision, picture_precision


def test_auto_is_a_device_that_is_there():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device("cpu").type == "cpu"


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match="device=gpu is unknown; wanted auto, cpu, cuda, mps"):
        choose_device("gpu")


def test_fast_precision_changes_a_product_little():
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    with fast_precision(torch.device("cpu")):
        y = x @ x
    assert y.dtype in (torch.float32, torch.bfloat16)
    assert (y.float() - x @ x).abs().max() < 0.05 * (x @ x).abs().max()


@pytest.mark.parametrize(("precision", "wanted"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_precision_that_is_asked_for_is_used(precision, wanted):
    cpu = torch.device("cpu")
    assert picture_precision(cpu, precision) == wanted
    with fast_precision(cpu, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == wanted

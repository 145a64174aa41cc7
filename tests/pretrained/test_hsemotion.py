"""HSEmotion: an ONNX file of its shape, its alphabetic order, its normalisation, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from vasa.pretrained.hsemotion import THEIR_ORDER, HSEmotion
from vasa.pretrained.vgg import IMAGENET_MEAN, IMAGENET_STD
from vasa.records import EMOTIONS


def model(path: Path, classes: int = 8, batch: int | str = "batch", side: int | str = 224) -> Path:
    """Logits: means of red, green and blue for the first three classes; a tenth of its number for each."""
    weight = np.zeros((classes, 3), np.float32)
    weight[:3] = np.eye(3)
    bias = 0.1 * np.arange(classes, dtype=np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["output"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "enet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, path)
    return path


def face() -> tuple[torch.Tensor, torch.Tensor]:
    """Two orange pictures, and landmarks well inside them."""
    colour = torch.tensor([0.9, 0.5, 0.1])[:, None, None]
    points = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    return (colour * 2 - 1).expand(2, 3, 64, 64), points


@pytest.mark.parametrize(("batch", "side"), [("batch", 224), (1, 224), ("batch", "side"), ("batch", 260)])
def test_weights_come_in_our_order_of_normalised_pixels(
    tmp_path: Path, batch: int | str, side: int | str
) -> None:
    images, points = face()
    weights = HSEmotion(model(tmp_path / "enet.onnx", batch=batch, side=side)).emotion(images, points)
    assert weights.shape == (2, 8)
    pixels = (np.array([0.9, 0.5, 0.1]) - IMAGENET_MEAN) / IMAGENET_STD
    logits = 0.1 * np.arange(8)
    logits[:3] += pixels
    share = np.exp(logits) / np.exp(logits).sum()
    theirs = dict(zip(THEIR_ORDER, share, strict=True))
    np.testing.assert_allclose(weights[1], [theirs[name] for name in EMOTIONS], atol=1e-4)
    assert set(THEIR_ORDER) == set(EMOTIONS) and list(THEIR_ORDER) == sorted(THEIR_ORDER)


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="get enet_b0_8_best_afew.onnx .*face-emotion-recognition"):
        HSEmotion(tmp_path / "nothing.onnx")
    with pytest.raises(ValueError, match=r"gives .*7.*wanted .*\(any, 8\)"):
        HSEmotion(model(tmp_path / "seven.onnx", classes=7))
    (tmp_path / "damaged.onnx").write_bytes(b"nothing of the kind" * 9)
    with pytest.raises(ValueError, match="damaged"):
        HSEmotion(tmp_path / "damaged.onnx")

"""ArcFace is fed as insightface feeds it: aligned to its template, normalised unless the file does it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from vasa.pretrained.arcface import TEMPLATE_PX, ArcFace, aligned


def model(path: Path, *before: str, batch: int | None = None, side: int = 112) -> Path:
    """Means of the quarters of each channel, behind nodes of the given names that change nothing."""
    nodes, value = [], "input"
    for name in before:
        kind, constant = ("Sub", "zero") if name.startswith("Sub") else ("Mul", "one")
        nodes.append(helper.make_node(kind, [value, constant], [f"after_{name}"], name=name))
        value = f"after_{name}"
    half = [side // 2, side // 2]
    nodes += [
        helper.make_node("AveragePool", [value], ["pooled"], name="pool", kernel_shape=half, strides=half),
        helper.make_node("Flatten", ["pooled"], ["embedding"], name="flat"),
    ]
    constants = [helper.make_tensor(n, TensorProto.FLOAT, [1], [v]) for n, v in (("zero", 0.0), ("one", 1.0))]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, side, side])
    made = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 12])
    graph = helper.make_graph(nodes, "net", [given], [made], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def landmarks(five_px: np.ndarray, size: int) -> torch.Tensor:
    """68 landmarks (1, 68, 2) whose five points are those given, in pixels of a picture of this size."""
    points = np.zeros((68, 2))
    for five, (a, b) in zip(five_px, ((36, 42), (42, 48), (30, 31), (48, 49), (54, 55)), strict=True):
        points[a:b] = five
    return torch.from_numpy((points + 0.5) * 2 / size - 1).float()[None]


def test_faces_are_moved_onto_the_template_by_the_similarity_of_least_squares() -> None:
    size, angle = 160, math.radians(20)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    five = (
        (np.array(TEMPLATE_PX) - 56) @ turn.T * 0.9
        + 80
        + np.array([[0, 3], [2, 0], [-3, 0], [0, 0], [1, -2]])
    )
    rows, columns = np.mgrid[:size, :size]
    picture = np.stack([columns, rows, np.full((size, size), 7)]).astype(np.float32)  # says where it is
    found = aligned(torch.from_numpy(picture)[None], landmarks(five, size), 112)[0].numpy()
    rows = [[(x, -y, 1, 0), (y, x, 0, 1)] for x, y in five]  # of a x - b y + c, b x + a y + d
    a, b, c, d = np.linalg.lstsq(np.reshape(rows, (10, 4)), np.reshape(TEMPLATE_PX, 10), rcond=None)[0]
    for x, y in ((30, 40), (56, 56), (75, 90)):
        back = np.linalg.solve([[a, -b], [b, a]], [x - c, y - d])
        np.testing.assert_allclose(found[:2, y, x], back, atol=0.02)
    assert found[2].min() >= 0 and found[2, 56, 56] == pytest.approx(7, abs=1e-4)


def test_pixels_are_brought_to_one_unless_the_graph_does_it_and_vectors_have_unit_length(
    tmp_path: Path,
) -> None:
    pictures = np.zeros((3, 112, 112, 3), np.uint8)
    pictures[..., 0] = 255  # RGB: red is first
    points = landmarks(np.array(TEMPLATE_PX), 112).expand(3, -1, -1)
    plain = ArcFace(model(tmp_path / "plain.onnx", "scale")).embed(pictures, points)
    itself = ArcFace(model(tmp_path / "mxnet.onnx", "Sub_0", "Mul_0")).embed(pictures, points)
    np.testing.assert_allclose(plain.norm(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(plain[0], np.repeat([1, -1, -1], 4) / 12**0.5, atol=1e-3)
    np.testing.assert_allclose(itself[0], np.repeat([1, 0, 0], 4) / 2, atol=1e-3)
    single = ArcFace(model(tmp_path / "single.onnx", "scale", batch=1)).embed(pictures, points)
    np.testing.assert_allclose(single, plain, atol=1e-6)


def test_a_missing_file_says_what_to_get_and_a_wrong_one_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="w600k_r50.onnx .*insightface"):
        ArcFace(tmp_path / "w600k_r50.onnx")
    wide = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 96])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, 112, 96])
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["out"])], "net", [wide], [out])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "w.onnx",
    )
    with pytest.raises(ValueError, match="wanted"):
        ArcFace(tmp_path / "w.onnx")

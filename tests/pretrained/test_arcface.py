"""ArcFace is fed as insightface feeds it: aligned to its template, normalised unless the file does it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from vasa.pretrained.arcface import TEMPLATE_PX, ArcFace, ArcFaceNet, aligned


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


def recogniser(path: Path, side: int = 112) -> Path:
    """A small IResNet as insightface exports it (opset 11), with random numbers."""
    make, nodes, constants = np.random.default_rng(0), [], []

    def given(name: str, *shape: int, low: float = -0.3, high: float = 0.3) -> str:
        constants.append(
            onnx.numpy_helper.from_array(make.uniform(low, high, shape).astype(np.float32), name)
        )
        return name

    def conv(x: str, name: str, cin: int, cout: int, stride: int = 1, kernel: int = 3) -> str:
        pad = kernel // 2
        inputs = [x, given(f"{name}.w", cout, cin, kernel, kernel), given(f"{name}.b", cout)]
        nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [name],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[pad] * 4,
                dilations=[1, 1],
                group=1,
            )
        )
        return name

    def norm(x: str, name: str, width: int) -> str:
        scale, bias, mean = (given(f"{name}.{part}", width) for part in ("scale", "bias", "mean"))
        inputs = [x, scale, bias, mean, given(f"{name}.var", width, low=0.5, high=2.0)]
        nodes.append(helper.make_node("BatchNormalization", inputs, [name], epsilon=2e-5))
        return name

    x = conv("input.1", "stem", 3, 4, stride=4)
    nodes.append(helper.make_node("PRelu", [x, given("slope", 4, 1, 1)], ["first"]))
    y = conv(norm("first", "before", 4), "one", 4, 8, stride=2)
    nodes.append(helper.make_node("PRelu", [y, given("slope2", 8, 1, 1)], ["second"]))
    nodes.append(
        helper.make_node(
            "Add", [conv("second", "two", 8, 8), conv("first", "down", 4, 8, stride=2, kernel=1)], ["sum"]
        )
    )
    nodes.append(helper.make_node("Flatten", [norm("sum", "after", 8)], ["flat"], axis=1))
    cells = 8 * (side // 8) ** 2
    inputs = ["flat", given("fc.w", 16, cells, low=-0.03, high=0.03), given("fc.b", 16)]
    nodes.append(helper.make_node("Gemm", inputs, ["fc"], alpha=1.0, beta=1.0, transB=1))
    norm("fc", "embedding", 16)
    graph = helper.make_graph(
        nodes,
        "iresnet",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["None", 3, side, side])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["None", 16])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)
    return path


def looks(count: int = 3, size: int = 96) -> tuple[np.ndarray, torch.Tensor]:
    """Pictures uint8 with landmarks whose five points lie about where the template has them."""
    make = np.random.default_rng(1)
    pictures = make.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    five = [(np.array(TEMPLATE_PX) + make.normal(0, 2, (5, 2))) * size / 112 + 6 * n for n in range(count)]
    return pictures, torch.cat([landmarks(points, size) for points in five])


def test_the_teacher_gives_the_judges_vectors(tmp_path: Path) -> None:
    path = recogniser(tmp_path / "small.onnx")
    pictures, points = looks()
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    teacher = ArcFaceNet(path)
    found = teacher(images, points)
    np.testing.assert_allclose(found.norm(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(found, ArcFace(path).embed(pictures, points), atol=1e-5)  # rounding of fp32
    assert found.std(0).mean() > 1e-3, "pictures are told apart"
    for name in ("plain", "mxnet"):
        before = ("scale",) if name == "plain" else ("Sub_0", "Mul_0")
        path = model(tmp_path / f"{name}.onnx", *before)
        np.testing.assert_allclose(
            ArcFaceNet(path)(images, points), ArcFace(path).embed(pictures, points), atol=1e-5
        )


def test_the_teachers_gradients_reach_pixels_and_nothing_else(tmp_path: Path) -> None:
    teacher = ArcFaceNet(recogniser(tmp_path / "small.onnx"))
    assert not any(p.requires_grad for p in teacher.parameters())
    pictures, points = looks()
    images = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1).requires_grad_()
    points.requires_grad_()
    before = {name: value.clone() for name, value in teacher.named_buffers()}
    (teacher.train()(images, points) * torch.randn(16)).sum().backward()
    assert images.grad.isfinite().all() and images.grad.any() and points.grad is None
    assert all(torch.equal(value, before[name]) for name, value in teacher.named_buffers())
    alone = ArcFaceNet(tmp_path / "small.onnx")(images[1:2].detach(), points[1:2])
    torch.testing.assert_close(alone, teacher(images, points)[1:2].detach())


def test_a_file_that_is_no_recogniser_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="w600k_r50.onnx .*insightface"):
        ArcFaceNet(tmp_path / "w600k_r50.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"nothing of the kind" * 9)
    with pytest.raises(ValueError, match="damaged.onnx is damaged"):
        ArcFaceNet(tmp_path / "damaged.onnx")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 112, 112]) for n in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Softmax", ["a"], ["b"])], "net", values[:1], values[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "soft.onnx",
    )
    with pytest.raises(ValueError, match=r"soft.onnx gives \(1, 3, 112, 112\); wanted one vector"):
        ArcFaceNet(tmp_path / "soft.onnx")

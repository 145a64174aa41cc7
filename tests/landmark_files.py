"""Made-up networks of dense landmarks in files of the published ones' inputs and outputs."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vasa.preprocess.landmark_frame import EYES_AND_MOUTH, OPENINGS

PX = {203: 224, 106: 192}
DOWN = {203: 0.2, 106: 0.166}
"""Where the middle of a face's landmarks is in its view, image coordinates: views lie a little above it."""
HALF = {203: 1 / 1.5, 106: 1 / 2.06}


def face_points(count: int, opened: float = 0.0) -> np.ndarray:
    """(count, 2) of a level face that a network of so many points sees in the view that suits it, in image
    coordinates. opened: how open eyes and lips are.
    """
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.stack([np.cos(turns), np.sin(turns)], 1)
    points[:4] = [[-1, 0], [1, 0], [0, -1], [0, 1]]
    places = ((-0.4, -0.3), (0.4, -0.3), (0.0, 0.4))
    for group, place in zip(EYES_AND_MOUTH[count], places, strict=True):
        points[list(group)] = place
    for groups, (x, y) in zip(OPENINGS[count], places, strict=True):
        upper, lower, left, right = (list(group) for group in groups)
        points[upper], points[lower] = [x, y - opened / 10], [x, y + opened / 10]
        points[left], points[right] = [x - 0.1, y], [x + 0.1, y]
    return points * HALF[count] + [0, DOWN[count]]


def write_landmarks(path: Path, count: int, follows: bool = False, normalises: bool = False) -> Path:
    """A network that sees ``face_points``, opened by how blue the picture is (0 to 1). follows: they lie
    around the middle of what is bright. normalises: its first layers are called as insightface's are.
    """
    px = PX[count]
    # of what it is given: 0 to 255 where it normalises by itself
    unit = 255.0 if normalises else 1.0
    centres = (np.arange(px) + 0.5) * 2 / px - 1
    x, y = (np.broadcast_to(v, (3, px, px)) for v in (centres[None, :], centres[:, None]))
    blue = np.zeros((3, px, px))
    blue[2] = 1 / (px * px * unit)
    weights = np.stack([v.ravel() for v in (x, y, np.ones((3, px, px)), blue)], 1).astype(np.float32)
    closed, opened = face_points(count), face_points(count, 1.0)
    spread = np.zeros((2, count, 2))
    spread[0, :, 0] = spread[1, :, 1] = 1.0 if follows else 0.0
    scale, shift = (0.5, 0.5) if count == 203 else (1.0, 0.0)
    tensors = {
        "weights": weights,
        "nothing": np.array([1e-3], np.float32),
        "closed": (closed * scale + shift).reshape(1, -1).astype(np.float32),
        "opening": ((opened - closed) * scale).reshape(1, -1).astype(np.float32),
        "spread": (spread * scale).reshape(2, -1).astype(np.float32),
        "cuts": np.array([2, 1, 1]),
        "flat_shape": np.array([1, -1]),
    }
    before = "given"
    nodes = []
    if normalises:  # what insightface tells a normalising graph by
        nodes.append(helper.make_node("Sub", ["given", "zero"], ["less"], name="Sub0"))
        nodes.append(helper.make_node("Mul", ["less", "one"], ["times"], name="Mul0"))
        tensors |= {"zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
        before = "times"
    nodes += [
        helper.make_node("Reshape", [before, "flat_shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["sums"]),
        helper.make_node("Split", ["sums", "cuts"], ["place", "bright", "blue"], axis=1),
        helper.make_node("Add", ["bright", "nothing"], ["some"]),
        helper.make_node("Div", ["place", "some"], ["middle"]),
        helper.make_node("MatMul", ["middle", "spread"], ["moved"]),
        helper.make_node("Mul", ["blue", "opening"], ["open"]),
        helper.make_node("Add", ["closed", "open"], ["shape"]),
        helper.make_node("Add", ["shape", "moved"], ["points"]),
    ]
    outputs = [("points", 2 * count)] if count == 106 else [("blue", 1), ("bright", 1), ("points", 2 * count)]
    graph = helper.make_graph(
        nodes,
        "landmarks",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, [1, 3, px, px])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name, width in outputs],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, path)
    return path

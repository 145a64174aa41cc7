"""A convolutional network from an ONNX file, computed by torch: so gradients reach its input.

Knows the operators that face recognition models are made of, and refuses a file with any other. Reading ONNX
executes nothing. Chosen over onnx2torch, which does the same for all of ONNX and is one dependency more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Inputs = Sequence[Tensor]
Attributes = dict[str, Any]


class OnnxGraph(nn.Module):
    """The one input of the file's graph -> its first output. Weights are buffers: nothing of it learns."""

    def __init__(self, path: str | Path) -> None:
        """Raises: FileNotFoundError; ValueError when the file is no such network."""
        super().__init__()
        import onnx
        from google.protobuf.message import DecodeError

        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}, an ONNX file, is missing; put it there.")
        try:
            graph = onnx.load(str(path)).graph
        except DecodeError as error:
            raise ValueError(f"{path} is damaged, or no ONNX file: get it again.") from error
        self._constants: dict[str, str] = {}  # name in the graph -> name of the buffer
        for tensor in graph.initializer:
            self._keep(tensor.name, onnx.numpy_helper.to_array(tensor))
        given = [value for value in graph.input if value.name not in self._constants]
        self._nodes: list[tuple[Callable[[Inputs, Attributes], Tensor], list[str], str, Attributes]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._keep(node.output[0], onnx.numpy_helper.to_array(attributes["value"]))
            elif node.op_type in OPERATORS:
                self._nodes.append(
                    (OPERATORS[node.op_type], list(node.input), node.output[0], _checked(attributes, path))
                )
            else:
                raise ValueError(
                    f"{path} computes {node.op_type}; wanted a recognition model of {', '.join(OPERATORS)}."
                )
        if len(given) != 1:
            raise ValueError(f"{path} takes {len(given)} inputs; wanted one, of pictures.")
        self._input, self._output = given[0].name, graph.output[0].name
        dims = given[0].type.tensor_type.shape.dim
        self.input_shape = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims]

    def _keep(self, name: str, value: Any) -> None:
        self._constants[name] = f"constant_{len(self._constants)}"
        self.register_buffer(self._constants[name], torch.from_numpy(value.copy()))

    def forward(self, images: Tensor) -> Tensor:
        values = {name: self.get_buffer(buffer) for name, buffer in self._constants.items()}
        values[self._input] = images
        for operator, inputs, output, attributes in self._nodes:
            values[output] = operator([values[name] for name in inputs if name], attributes)
        return values[self._output]


def _checked(attributes: Attributes, path: str | Path) -> Attributes:
    """Raises: ValueError for edges that torch's layers do not have."""
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    automatic = attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    if automatic or attributes.get("ceil_mode", 0) or pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        raise ValueError(f"{path} pads by {pads}, or as it likes; wanted the same on opposite sides.")
    return attributes


def _window(attributes: Attributes) -> dict[str, Any]:
    """Stride and padding (of opposite sides alike) as torch's functions take them."""
    return {
        "stride": tuple(attributes.get("strides", (1, 1))),
        "padding": tuple(attributes.get("pads", (0, 0, 0, 0))[:2]),
    }


def _convolution(x: Inputs, a: Attributes) -> Tensor:
    dilation = tuple(a.get("dilations", (1, 1)))
    bias = x[2] if len(x) > 2 else None
    return F.conv2d(x[0], x[1], bias, dilation=dilation, groups=a.get("group", 1), **_window(a))


def _average(x: Inputs, a: Attributes) -> Tensor:
    padded = bool(a.get("count_include_pad", 0))
    return F.avg_pool2d(x[0], tuple(a["kernel_shape"]), count_include_pad=padded, **_window(a))


def _batch_norm(x: Inputs, a: Attributes) -> Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=a.get("epsilon", 1e-5))


def _linear(x: Inputs, a: Attributes) -> Tensor:
    left = x[0].T if a.get("transA", 0) else x[0]
    right = x[1].T if a.get("transB", 0) else x[1]
    product = a.get("alpha", 1.0) * (left @ right)
    return product + a.get("beta", 1.0) * x[2] if len(x) > 2 else product


def _reshape(x: Inputs, a: Attributes) -> Tensor:
    """The batch keeps its size, whichever the file was written with."""
    return x[0].reshape(len(x[0]), *x[1].tolist()[1:])


OPERATORS: dict[str, Callable[[Inputs, Attributes], Tensor]] = {
    "Conv": _convolution,
    "BatchNormalization": _batch_norm,
    "PRelu": lambda x, a: torch.where(x[0] >= 0, x[0], x[0] * x[1]),
    "Relu": lambda x, a: x[0].relu(),
    "Add": lambda x, a: x[0] + x[1],
    "Sub": lambda x, a: x[0] - x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Div": lambda x, a: x[0] / x[1],
    "MaxPool": lambda x, a: F.max_pool2d(x[0], tuple(a["kernel_shape"]), **_window(a)),
    "AveragePool": _average,
    "GlobalAveragePool": lambda x, a: x[0].mean((2, 3), keepdim=True),
    "Flatten": lambda x, a: x[0].flatten(a.get("axis", 1)),
    "Reshape": _reshape,
    "Gemm": _linear,
    "MatMul": lambda x, a: x[0] @ x[1],
    "Identity": lambda x, a: x[0],
    "Dropout": lambda x, a: x[0],
}
"""ONNX's operators at inference; attributes have ONNX's names and defaults."""

"""ArcFace (Deng et al. 2019) from a local ONNX file, as insightface feeds it: who a face is, on real people.

``ArcFace`` judges, through onnxruntime; ``ArcFaceNet`` teaches (l_cross_id of VASA-1), with gradients. The
file is not ours and does not ship; vasa/pretrained/registry.py says what to get. What one file taught,
another has to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.pretrained.crops import invert, warp_crop
from vasa.pretrained.registry import NETWORKS

TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where insightface's face_align.norm_crop puts the eyes, the tip of the nose and the corners of the mouth,
in a picture of 112 px, pixel centres at whole numbers.
"""
TEMPLATE_SIDE = 112
_FIVE = ((36, 42), (42, 48), (30, 31), (48, 49), (54, 55))
"""Ranges of the iBUG 68 whose means are those five points."""
CHUNK = 32


class ArcFace:
    """A recognition model of insightface's zoo (w600k_r50.onnx, say), through onnxruntime on the CPU."""

    def __init__(self, path: str | Path) -> None:
        """Raises: FileNotFoundError saying what to get; ValueError when the file takes no square pictures."""
        import onnxruntime

        path = _existing(path)
        self.name = path.stem
        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (given,) = self._session.get_inputs()
        self._input, shape = given.name, given.shape
        self._side = _side(shape, path)
        self._chunk = shape[0] if isinstance(shape[0], int) else CHUNK
        self._mean, self._scale = (0.0, 1.0) if _normalises_itself(path) else (127.5, 1 / 127.5)

    def embed(self, pictures: np.ndarray, landmarks: Tensor) -> Tensor:
        """pictures uint8 (T, S, S, 3) RGB, their landmarks (T, 68, 2) -> unit vectors (T, E)."""
        found = []
        for start in range(0, len(pictures), self._chunk):
            pixels = torch.from_numpy(np.ascontiguousarray(pictures[start : start + self._chunk]))
            faces = aligned(
                pixels.permute(0, 3, 1, 2).float(), landmarks[start : start + self._chunk], self._side
            )
            batch = ((faces - self._mean) * self._scale).numpy()
            found.append(torch.from_numpy(self._session.run(None, {self._input: batch})[0]))
        return F.normalize(torch.cat(found).float(), dim=-1)


class ArcFaceNet(nn.Module):
    """The same in torch: images (B, 3, S, S) in [-1, 1], landmarks (B, 68, 2) -> unit vectors (B, E).

    As identity.IdentityNet: differentiable in the images; landmarks only place the crop.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises: FileNotFoundError saying what to get; ValueError when the file is no recognition model."""
        super().__init__()
        path = _existing(path)
        self.graph, shape = _in_torch(path)
        self.side = _side(shape, path)
        self.mean, self.scale = (0.0, 1.0) if _normalises_itself(path) else (127.5, 1 / 127.5)
        with torch.no_grad():
            code = self.graph(torch.zeros(1, 3, self.side, self.side))
        if code.ndim != 2:
            raise ValueError(f"{path} gives {tuple(code.shape)}; wanted one vector a face, (any, E).")

    def train(self, mode: bool = True) -> Self:
        """Stays frozen: its batch norms must not learn."""
        return super().train(False)

    def forward(self, images: Tensor, landmarks: Tensor) -> Tensor:
        pixels = (images.float() + 1) * 127.5  # beyond the picture is black, as the judge sees it
        faces = aligned(pixels, landmarks.detach(), self.side)
        return F.normalize(self.graph((faces - self.mean) * self.scale).float(), dim=-1)


def aligned(images: Tensor, landmarks: Tensor, side: int) -> Tensor:
    """Faces (T, 3, side, side) moved, turned and scaled onto TEMPLATE_PX; images (T, 3, S, S), landmarks (T,
    68, 2).

    The similarity of least squares from the picture to the template, black outside the picture, as
    insightface's.
    """
    points = torch.stack([landmarks[:, a:b].double().mean(1) for a, b in _FIVE], 1)  # (T, 5, 2)
    template = (points.new_tensor(TEMPLATE_PX) + 0.5) * (2 / TEMPLATE_SIDE) - 1
    x, y = torch.view_as_complex(points.contiguous()), torch.view_as_complex(template.contiguous())
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean()
    turn = ((x - x_mean).conj() * (y - y_mean)).sum(1) / (x - x_mean).abs().square().sum(1).clamp(min=1e-12)
    move = y_mean - turn * x_mean[:, 0]  # y = turn x + move
    rows = [
        torch.stack([turn.real, -turn.imag, move.real], -1),
        torch.stack([turn.imag, turn.real, move.imag], -1),
    ]
    return warp_crop(images, invert(torch.stack(rows, 1)).float(), side, padding="zeros")


def _in_torch(path: Path) -> tuple[nn.Module, list[int | str | None]]:
    """The graph as a frozen module, and the shape it takes."""
    import onnx
    import onnx2torch
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path))
    except DecodeError as error:
        raise ValueError(f"{path} is damaged, or no ONNX file: get it again.") from error
    try:
        network = onnx2torch.convert(model)
    except Exception as error:  # it raises several kinds for graphs that it does not know
        raise ValueError(f"{path} cannot be computed by torch: {str(error).splitlines()[0]}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    if len(given) != 1:
        raise ValueError(f"{path} takes {len(given)} inputs; wanted one, of pictures.")
    dims = given[0].type.tensor_type.shape.dim
    shape = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims]
    return network.eval().requires_grad_(False), shape  # else its batch norms would go on learning


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        known = NETWORKS["arcface_w600k_r50"]
        raise FileNotFoundError(f"{path} is missing; get {known.file} ({known.source}) and put it there.")
    return Path(path)


def _side(shape: Sequence[int | str | None], path: Path) -> int:
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise ValueError(f"{path} takes {shape}; wanted (any, 3, S, S), as insightface's recognition does.")
    return shape[2]


def _normalises_itself(path: Path) -> bool:
    """Whether the graph begins by subtracting and multiplying: models that came from MXNet take 0 to 255."""
    import onnx

    first = [node.name for node in onnx.load(str(path), load_external_data=False).graph.node[:8]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in first)
    return subtracts and any(name.startswith(("Mul", "_mul")) for name in first)

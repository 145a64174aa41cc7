"""HSEmotion (Savchenko 2021): eight emotions from a picture of a face, from a local ONNX file.

An EfficientNet that was pretrained on faces and tuned on AffectNet. The file does not ship;
vasa/pretrained/registry.py says what to get.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.pretrained.crops import box_crop, face_boxes
from vasa.pretrained.registry import NETWORKS
from vasa.pretrained.vgg import IMAGENET_MEAN, IMAGENET_STD
from vasa.records import EMOTIONS

THEIR_ORDER = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Of what the networks with eight classes give: alphabetic, where records.py keeps AffectNet's order."""
OUR_ORDER = [THEIR_ORDER.index(name) for name in EMOTIONS]
SIZE = 224
"""px of the face's picture where the file leaves it open, as enet_b0 takes it."""


class HSEmotion:
    """enet_b0_8_best_afew.onnx or another of its eight classes, through onnxruntime on the CPU."""

    def __init__(self, path: str | Path) -> None:
        """Raises: FileNotFoundError saying what to get; ValueError for a file of other inputs or outputs."""
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

        path, known = Path(path), NETWORKS["hsemotion"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; get {known.file} ({known.source}) and put it there.")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except InvalidProtobuf as error:
            raise ValueError(f"{path} is damaged, or no ONNX file: get it again.") from error
        given, out = self._session.get_inputs()[0], self._session.get_outputs()[0]
        if len(given.shape) != 4 or len(out.shape) != 2 or out.shape[1] not in (len(EMOTIONS), None):
            raise ValueError(
                f"{path} takes {given.shape} and gives {out.shape}; wanted (any, 3, S, S) and (any, 8), as "
                "HSEmotion's networks with eight classes."
            )
        self._input = given.name
        self._size = given.shape[2] if isinstance(given.shape[2], int) else SIZE
        self._one = given.shape[0] == 1

    def emotion(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """images (B, 3, S, S) in [-1, 1], landmarks (B, 68, 2) -> weights (B, 8) over EMOTIONS."""
        faces = box_crop((images.cpu() + 1) / 2, face_boxes(landmarks.cpu()), self._size)
        mean, std = (faces.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        pictures = ((faces - mean) / std).numpy()
        parts = np.split(pictures, len(pictures)) if self._one else [pictures]
        logits = [self._session.run(None, {self._input: part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(logits)).float()[:, OUR_ORDER].softmax(-1)

"""Exact labels in the face's code: read back exactly, and near what the trained encoders say."""

import torch
import yaml

from vasa.config import CONFIGS
from vasa.data.synthetic.animation import random_animation
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.training.label_code import LabelCode


def test_a_code_reads_back_as_its_labels_and_is_deterministic():
    torch.manual_seed(0)
    face = FaceAutoencoder(FaceConfig(**yaml.safe_load((CONFIGS / "face" / "tiny.yaml").read_text()))).eval()
    animation = random_animation(range(5))
    code = LabelCode.fit(face, 1, torch.device("cpu"))
    motion = code(animation)
    torch.testing.assert_close(face.controls(motion), animation.controls, atol=1e-4, rtol=0)
    assert torch.equal(motion[:, face.layout.pose], animation.pose)
    assert torch.equal(LabelCode.fit(face, 1, torch.device("cpu"))(animation), motion)

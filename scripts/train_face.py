"""Stage 1: the face latent space.

`python scripts/train_face.py face=demo` -> checkpoints/face/demo/face.safetensors.
"""

from vasa.config import main
from vasa.training.face_config import TrainFaceRun


@main("train_face")
def run(cfg: TrainFaceRun) -> None:
    from vasa.training.train_face import train_face

    train_face(cfg)


if __name__ == "__main__":
    run()

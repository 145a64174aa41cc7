"""Trains stage 1, the face latent space: ``python scripts/train_face.py experiment=demo_encoders``.

Renders the frames that are missing and writes ``face.safetensors`` (averaged weights, config), states to
resume from, metrics and previews into the run folder. The same command carries on after a kill.
"""

from vasa.config import main
from vasa.training.face_config import TrainFaceRun


@main("train_face")
def run(cfg: TrainFaceRun) -> None:
    from vasa.training.train_face import train_face

    train_face(cfg)


if __name__ == "__main__":
    run()

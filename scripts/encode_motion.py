"""Encodes clips into a latent cache: ``python scripts/encode_motion.py face=checkpoints/face/demo
output=data/latents/demo_train``.

Writes shards of raw motion, audio features and conditions, and an index, into ``output``. The same command
carries on after a kill.
"""

from vasa.config import main
from vasa.training.motion_config import EncodeMotionRun


@main("encode_motion")
def run(cfg: EncodeMotionRun) -> None:
    from vasa.training.encode_motion import (
        encode_motion,
    )  # torch: after the command line is known to be right

    encode_motion(cfg)


if __name__ == "__main__":
    run()

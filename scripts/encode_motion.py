"""Encodes clips into a latent cache: ``python scripts/encode_motion.py split=train``.

Writes shards of raw motion, audio features and conditions, and an index, into ``output``, by default
data/latents/demo/<split>. The same command carries on after a kill.
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

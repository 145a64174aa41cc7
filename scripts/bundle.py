"""Makes one checkpoint folder of two runs: ``python scripts/bundle.py face=checkpoints/face/demo
motion=checkpoints/motion/demo``.

Writes face.safetensors and motion.safetensors in half precision, bundle.json and a card into
output=checkpoints/demo. Refuses a motion model that was trained on another face space.
"""

from vasa.config import main
from vasa.inference.config import BundleRun


@main("bundle")
def run(cfg: BundleRun) -> None:
    from vasa.inference.bundle import bundle  # torch: after the command line is known to be right

    bundle(cfg)


if __name__ == "__main__":
    run()

"""Small latent caches and the smallest run on them, which tests of stage 2's training share."""

from pathlib import Path

import torch

from vasa.config import load
from vasa.data.latent_cache import CacheHeader, EncodedClip, LatentCache, LatentCacheWriter
from vasa.training.motion_config import TrainMotionRun

A, DYNAMICS, FRAMES = 6, 4, 30


def make_cache(
    folder: Path, face_hash: str = "f" * 64, kind: str = "logmel", num_clips: int = 3
) -> LatentCache:
    """Clips whose motion is a smooth function of their sound."""
    header = CacheHeader(
        face_hash=face_hash,
        dynamics_dim=DYNAMICS,
        audio_dim=A,
        num_variants=1,
        audio={"kind": kind},
        source={},
    )
    writer, clips = LatentCacheWriter(folder, header), []
    mixing = torch.randn(A, 6 + DYNAMICS, generator=torch.Generator().manual_seed(99))
    for index in range(num_clips):
        g = torch.Generator().manual_seed(index)
        sound = torch.randn(FRAMES, A, generator=g).cumsum(0) / 4
        motion = (sound @ mixing).tanh()
        gaze, distance, emotion = (
            torch.randn(2, generator=g),
            torch.tensor(1.0 + index / 10),
            torch.eye(8)[index],
        )
        clips.append(EncodedClip(f"clip{index}", motion, sound[None], gaze, distance, emotion))
    writer.write(0, clips)
    writer.finish(1)
    return LatentCache(folder)


def tiny_run(folder: Path, *arguments: str) -> TrainMotionRun:
    """configs/train_motion.yaml at the tiny size, on caches in ``folder``."""
    places = [f"cache={folder}/train", f"validation_cache={folder}/validation", f"run_dir={folder}/run"]
    return load("train_motion", ["motion=tiny", "run=smoke", "validation_clips=2", *places, *arguments])

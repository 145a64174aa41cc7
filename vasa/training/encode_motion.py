"""From clips to the latent cache: the frozen face encoders and the speech encoder run once over every clip.

The face is the averaged weights of a face checkpoint, in eval mode. It is given as a function from frames to
raw motion, so that exact animation can stand in for it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vasa.checkpoint import plain
from vasa.data.latent_cache import CacheHeader, EncodedClip, LatentCacheWriter
from vasa.data.manifest import MANIFEST
from vasa.data.synthetic.augment import augment
from vasa.pretrained.speech import SpeechEncoder, build_speech_encoder, features_as_heard_live
from vasa.records import Clip
from vasa.training.motion_config import EncodeMotionRun
from vasa.training.motion_sources import motion_source
from vasa.training.runtime import mix
from vasa.training.template_clips import TemplateClips

_log = logging.getLogger(__name__)


def sound_variants(clip: Clip, number: int, seed: int) -> list[np.ndarray]:
    """The clip's sound and ``number`` - 1 augmented copies of it, all in sync with the frames."""
    return [clip.audio] + [
        augment(clip.audio, np.random.default_rng((seed, variant))) for variant in range(1, number)
    ]


LIVE_PIECE, LIVE_RIGHT = (4, 25), (0, 8)
"""Frames that live speech is heard at a time, and after these: from, to."""
LIVE_LEFT = 50


def heard(speech: SpeechEncoder, sound: np.ndarray, num_frames: int, live: bool, seed: int) -> Tensor:
    """Features (T, A) of a sound, whole, or in pieces as live speech; seed: of the pieces' length."""
    if not live:
        return speech.features(sound, num_frames)
    rng = np.random.default_rng((seed, len(sound)))
    piece, right = (int(rng.integers(low, high + 1)) for low, high in (LIVE_PIECE, LIVE_RIGHT))
    return features_as_heard_live(speech, sound, num_frames, piece=piece, left=LIVE_LEFT, right=right)


def encode_clip(
    clip: Clip,
    motion: Tensor,
    speech: SpeechEncoder,
    variants: int,
    seed: int,
    keep_audio: bool,
    streamed: int = 0,
) -> EncodedClip:
    """One clip of the cache. seed: of its sound's augmentation. streamed: variants heard as live speech."""
    sounds = sound_variants(clip, variants, seed)
    features = [
        heard(speech, sound, clip.num_frames, number >= variants - streamed, seed + number)
        for number, sound in enumerate(sounds)
    ]
    return EncodedClip(
        clip_id=clip.clip_id,
        motion=motion,
        features=torch.stack(features).cpu(),
        gaze=clip.gaze,
        distance=clip.distance,
        emotion=clip.emotion,
        audio=torch.from_numpy(np.stack(sounds)) if keep_audio else None,
    )


def _described(run: EncodeMotionRun) -> dict[str, Any]:
    """Which clips these are: a synthetic set may grow; a folder is known by its manifest alone, motion
    templates by what they hold.
    """
    if run.templates is not None:
        return {"templates": TemplateClips(run.templates).fingerprint}
    if run.store is not None:
        return {"manifest": hashlib.sha256((run.store / MANIFEST).read_bytes()).hexdigest()}
    return {name: value for name, value in plain(run.clips).items() if name != "num_clips"}


def encode_motion(run: EncodeMotionRun) -> Path:
    """Encodes all clips of a run but whole shards of an earlier one, killed or of fewer clips. Returns the
    cache folder.
    """
    face, speech = motion_source(run), build_speech_encoder(run.speech)
    header = CacheHeader(
        face_hash=face.hash,
        dynamics_dim=face.dynamics_dim,
        audio_dim=speech.dim,
        num_variants=run.variants,
        audio=plain(run.speech),
        source={
            "split": run.split,
            **_described(run),
            "clips_per_shard": run.clips_per_shard,
            "keep_audio": run.keep_audio,
            "label_heads": run.label_heads,
            **({"streamed_variants": run.streamed_variants} if run.streamed_variants else {}),
        },
    )
    writer = LatentCacheWriter(run.output, header)
    num, size = face.num_clips, run.clips_per_shard
    shards = [range(first, min(first + size, num)) for first in range(0, num, size)]
    todo = [shard for shard in range(len(shards)) if not writer.has(shard, len(shards[shard]))]
    if len(todo) < len(shards):
        _log.info("%s has %d of %d shards already.", run.output, len(shards) - len(todo), len(shards))
    begun, done, total = time.monotonic(), 0, sum(len(shards[shard]) for shard in todo)
    for shard in todo:
        encoded = []
        for index in shards[shard]:
            clip = face.clip(index)
            seed = mix(run.clips.seed, index)
            encoded.append(
                encode_clip(
                    clip,
                    face.motion(clip),
                    speech,
                    run.variants,
                    seed,
                    run.keep_audio,
                    run.streamed_variants,
                )
            )
        writer.write(shard, encoded)
        done += len(encoded)
        rate = done / (time.monotonic() - begun)
        _log.info("%d of %d clips, %.2f clips/s, %.0f s left", done, total, rate, (total - done) / rate)
    writer.finish(len(shards))
    return run.output

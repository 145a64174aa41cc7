"""The shipped stand-in for SyncNet on clips it has not seen, and real video through both protocols."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vasa.checkpoint import load_weights
from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.metrics.config import SyncMetricConfig
from vasa.metrics.face_tracks import FindFaces, find_by_landmarks
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.sources import ClipFiles, read_clip
from vasa.metrics.syncnet import SyncMetric
from vasa.pretrained.config import DetectorConfig, SyncNetConfig
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.detector import build_detector
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS
from vasa.pretrained.syncnet import SyncNet
from vasa.records import SAMPLES_PER_FRAME

JUDGE, POSE = (JUDGE_DIR / NETWORKS[name].file for name in ("judge_sync", "judge_pose"))
needs_judge = pytest.mark.skipif(not JUDGE.exists(), reason="no judge_sync here: run scripts/train_judges.py")
SHORT = SyncMetricConfig(min_track=50, min_face_px=40)


def metric(network: SyncNet, find: FindFaces, config: SyncMetricConfig = SHORT) -> SyncMetric:
    return SyncMetric(network, config, find, origin="test", weights_hash="0", finder="test")


@needs_judge
def test_the_card_says_that_offsets_are_found_and_noise_is_seen() -> None:
    scores = load_weights(JUDGE).meta["scores"]
    assert scores["held_out/offsets found exactly"] >= 0.95
    doses = [
        scores["held_out/S_C"],
        *(scores[f"held_out/S_C with noise of {n} levels"] for n in (16, 32, 64)),
    ]
    assert doses == sorted(doses, reverse=True)
    assert doses[-1] < 0.9 * doses[0]
    assert scores["held_out/S_C with another clip's sound"] < 0.5 * doses[0]
    assert JUDGE.stat().st_size < 1_000_000


@needs_judge
@pytest.mark.parametrize("seed", [5, *(pytest.param(seed, marks=pytest.mark.full) for seed in (6, 7, 8))])
def test_the_shipped_judge_finds_offsets_of_people_and_voices_it_has_not_seen(seed: int) -> None:
    """60 frames of the test split through the pipeline, with true boxes; sound 3 frames early or late."""
    spoken = SpokenConfig(espeak_share=0.0, silent_share=0.0)
    clips = SyntheticClips("test", ClipsConfig(num_clips=1, seed=seed, seconds=2.4, spoken=spoken))
    clip = clips[0]
    assert clip.frames is not None and clip.truth.landmarks is not None
    boxes = (face_boxes(clip.truth.landmarks).double().numpy() + 1) * (clip.frames.shape[1] / 2)
    one = metric(SyncNet.from_pretrained(JUDGE), lambda frames: list(boxes[:, None]))
    found = []
    for early in (-3, 0, 3):
        heard = np.roll(clip.audio, -early * SAMPLES_PER_FRAME)
        found.append(one.measure(EvalClip(name="clip", frames=clip.frames, audio=heard))["offset"])
    assert found == [-3, 0, 3]


@pytest.mark.media
@pytest.mark.skipif(not POSE.exists(), reason="no judge_pose here: run scripts/train_judges.py")
def test_a_real_clip_runs_through_both_protocols(media: Path) -> None:
    clip = read_clip(ClipFiles(media / "video" / "celebv_8.mp4"))
    assert clip.audio is not None
    clip.frames, clip.audio = clip.frames[:60], clip.audio[: 60 * SAMPLES_PER_FRAME]
    network = SyncNet(SyncNetConfig(width=0.1, feature_dim=8, embedding_dim=8, image_size=56)).eval()
    find = find_by_landmarks(LandmarkNet.from_pretrained(POSE), build_detector(DetectorConfig()), 0.3)
    found = metric(network, find).measure(clip)
    assert found["num_windows"] == 55 and np.isfinite(list(found.values())).all()
    with pytest.raises(Unscored, match="too short: 60 frames"):
        metric(network, find, SyncMetricConfig()).measure(clip)
    with pytest.raises(Unscored, match="not a face crop: 512x512"):
        metric(network, find, SyncMetricConfig(protocol="demo")).measure(clip)
    scaled = metric(network, find, SyncMetricConfig(protocol="demo", resize=True)).measure(clip)
    assert scaled["num_windows"] == 55 and scaled["s_d"] != found["s_d"]

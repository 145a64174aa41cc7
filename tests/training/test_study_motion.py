"""A study of stage 2 encodes its caches, trains every variant and seed once, and probes it by name."""

import json

import pytest
import torch
from motion_caches import make_cache

from vasa.config import load
from vasa.data.latent_cache import LatentCache
from vasa.motion.config import MotionConfig, TransformerConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import MotionGenerator
from vasa.records import CONTROL_INDEX, MotionLayout
from vasa.training.motion_probe import probe_motion
from vasa.training.study_motion import study_motion


def small_study(folder, *arguments):
    formants = ["face=null", "label_heads=0", "variants=1", "clips.seconds=3", "clips.spoken.espeak_share=0"]
    run = load("study_motion", [f"run_dir={folder}", "num_clips=3", "seeds=[0]", *arguments])
    run.encode = formants
    run.caches = {"train": ["clips.num_clips=4"], "test": ["split=test", "clips.num_clips=3"]}
    quiet = ["loop.preview_every=0", "loop.validate_every=0", "loop.logger=none", "loop.steps=2"]
    run.base = ["motion=tiny", "run=smoke", "cache={latents}/train", "validation_cache=null", *quiet]
    run.variants = {"full": [], "no_gaze": ["motion.dropout.gaze=1"]}
    run.guidance = {"audio 1": {"audio": 1.0}}
    return run


def test_a_study_of_stage_2_measures_every_variant_under_every_guidance(tmp_path):
    table = study_motion(small_study(tmp_path), load)
    text = table.read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["variant", "full", "full, audio 1", "no_gaze", "no_gaze, audio 1"]
    weights = tmp_path / "full" / "0" / "motion.safetensors"
    known = weights.stat().st_mtime_ns
    study_motion(small_study(tmp_path), load)
    assert weights.stat().st_mtime_ns == known
    found = json.loads((tmp_path / "full" / "0" / "probe.json").read_text(encoding="utf-8"))["scores"]
    assert set(found) == {"test", "test audio 1"} and -1 <= found["test"]["lip_r"] <= 1
    changed = small_study(tmp_path)
    changed.num_clips = 2
    with pytest.raises(ValueError, match="num_clips was 3, is 2"):
        study_motion(changed, load)


def test_a_study_names_what_it_does_not_know(tmp_path):
    with pytest.raises(ValueError, match=r"probed=\['elsewhere'\]"):
        load("study_motion", ["probed=[elsewhere]"])


class Perfect(MotionGenerator):
    """Says the truth, its jaw scaled and its head turned where windows meet."""

    def generate_many(self, features, conditions, *, generators, **options):
        made = torch.stack([self.cache.motion(clip, 0, features.shape[1]) for clip in range(len(features))])
        made = made.clone()
        made[..., 6 + CONTROL_INDEX["jaw"]] *= 0.5
        made[:, 10:, 0] += 0.2
        return made


def test_the_probe_reads_the_exact_animation(tmp_path):
    study_motion(small_study(tmp_path), load)
    cache = LatentCache(tmp_path / "latents" / "test")
    net = TransformerConfig(width=8, num_layers=1, num_heads=1, feedforward=8)
    config = MotionConfig(window_frames=10, history_frames=2, transformer=net)
    generator = Perfect(MotionDiffusion(config, MotionLayout.volumetric(11), 80), {}, "exact")
    generator.cache = cache
    scores = probe_motion(generator, cache, 3, 0)
    assert scores["lip_r"] == pytest.approx(1, abs=1e-3) and scores["lip_shuffled"] < 0.6
    assert scores["lip_amplitude"] == pytest.approx(0.5, abs=1e-3)
    assert scores["distance_error"] < 1e-4 and scores["mood_r"] == pytest.approx(1, abs=1e-3)
    assert scores["join_jerk"] > 3 and scores["pose_jitter"] > 1
    assert scores["gaze_deg"] < 6  # glances aside are part of a clip, not of its main direction


def test_a_cache_of_a_face_space_cannot_be_probed_so(tmp_path):
    cache = make_cache(tmp_path)
    model = MotionDiffusion(MotionConfig(), cache.header.layout, cache.header.audio_dim)
    with pytest.raises(ValueError, match="exact animation"):
        probe_motion(MotionGenerator(model, {}, "some face"), cache, 2, 0)

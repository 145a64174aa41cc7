"""From a tree as VoxCeleb2's to a table of numbers, through every script on the way, at tiny size."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from recordings import record, record_sound

from vasa.config import ROOT
from vasa.data.clip_store import ClipStore
from vasa.data.config import SplitConfig, SpokenConfig
from vasa.data.latent_cache import LatentCache
from vasa.data.splits import assign_splits
from vasa.data.synthetic.clips import SyntheticClips
from vasa.inference.demo import demo_portrait
from vasa.losses.config import LABELLED
from vasa.video import VideoReader

pytestmark = pytest.mark.timeout(1800)  # two minutes on an idle core; others may keep it busy
SPEAKERS = ("id00001", "id00002", "id00003", "id00004")
SIZE, SEED = 96, 1


def script(name: str) -> Callable[[Sequence[str]], None]:
    """scripts/<name>.py as a function of its arguments."""
    return runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))["run"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people of dev, sound apart from pictures."""
    root = tmp_path_factory.mktemp("VoxCeleb2")
    spoken = SpokenConfig(espeak_share=0.0, singing_share=0.0, silent_share=0.0)
    clips = SyntheticClips("test", num_clips=len(SPEAKERS), seconds=1.2, size=SIZE, spoken=spoken)
    for speaker, number in zip(SPEAKERS, range(len(SPEAKERS)), strict=True):
        clip = clips[number]
        pictures = np.full((clip.num_frames, 130, 170, 3), 110, np.uint8)
        pictures[:, 20 : 20 + SIZE, 40 : 40 + SIZE] = clip.frames
        record(root / f"dev/mp4/{speaker}/aaaaaaaaaaa/00001.mp4", pictures)
        record_sound(root / f"dev/aac/{speaker}/aaaaaaaaaaa/00001.m4a", clip.audio)
    return root


def test_the_seed_puts_two_speakers_into_each_split() -> None:
    config = SplitConfig(seed=SEED, validation_share=0.5)
    found = assign_splits([(name, "dev") for name in SPEAKERS], config)
    assert sorted(found.values()) == ["train", "train", "validation", "validation"]


def test_a_tree_of_videos_becomes_a_table_of_numbers(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasa.training.train_face.CHANGE_BATCHES", 4)  # of 48 pairs: there are 100 frames
    clips, face, motion, made = (tmp_path / name for name in ("clips", "face", "motion", "checkpoint"))
    short = ["segments.min_seconds=0.8", "segments.max_seconds=4", "quality.max_enlarge=3"]
    split = [f"splits.seed={SEED}", "splits.validation_share=0.5"]
    script("preprocess")(
        ["data=voxceleb2", f"data.root={tree}", f"out={clips}", f"size={SIZE}", "workers=0", *short, *split]
    )
    assert len(ClipStore(clips, "train")) == len(ClipStore(clips, "validation")) == 2

    teacher = tmp_path / "pose_teacher"
    heads = ["pairs.num_identities=16", "pairs.frames=4", "pairs.size=64", "pairs.randomised_share=0"]
    heads += ["validation_identities=16", "validation_batches=1", f"pairs.cache={tmp_path}/heads"]
    script("train_face")(["face=tiny", "run=smoke", f"run_dir={teacher}", *heads])
    unlabelled = [f"losses.{name}=0" for name in (*LABELLED, "true_pose_share")]
    given = ["data=clips", f"clips.root={clips}", "clips.size=64", "losses.change_steps=2"]
    given += [f"init_pose={teacher}/face.safetensors", "freeze_pose=true"]
    judged = ["validation_batches=1", f"run_dir={face}"]
    script("train_face")(["face=tiny", "run=smoke", *given, *unlabelled, *judged])
    assert (face / "face.safetensors").is_file()

    for name in ("train", "validation"):
        place = [f"store={clips}", f"split={name}", f"face={face}", f"output={tmp_path}/latents/{name}"]
        script("encode_motion")([*place, "label_heads=0", "variants=2", "device=cpu"])
    cache = LatentCache(tmp_path / "latents/train")
    assert len(cache) == 2 and all(cache.control(clip, "gaze") is not None for clip in range(2))

    read = [f"cache={tmp_path}/latents/train", f"validation_cache={tmp_path}/latents/validation"]
    script("train_motion")(["motion=tiny", "run=smoke", f"run_dir={motion}", *read])
    script("bundle")([f"face={face}", f"motion={motion}", f"output={made}"])

    portrait, sound = tmp_path / "portrait.png", tree / f"dev/aac/{SPEAKERS[0]}/aaaaaaaaaaa/00001.m4a"
    from PIL import Image

    Image.fromarray(demo_portrait(1, 128)[0]).save(portrait)
    video = tmp_path / "videos/spoken.mp4"
    video.parent.mkdir()
    found = ["allow_centre_crop=true", "detector.landmarks=null", "size=128", "device=cpu"]
    script("infer")([f"image={portrait}", f"audio={sound}", f"checkpoint={made}", f"output={video}", *found])
    assert len(VideoReader(video)) >= 29

    script("eval")([f"videos={video.parent}", f"out={tmp_path}/eval", "metrics=[sync,pose,liveliness]"])
    lines = [json.loads(line) for line in (tmp_path / "eval/clips.jsonl").read_text().splitlines()]
    scores = {line["metric"]: line["values"] for line in lines}
    assert scores["pose"]["delta_p"] >= 0 and "mouth_amplitude" in scores["liveliness"]

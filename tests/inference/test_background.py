"""background=plate: the portrait's own background behind every frame, and nothing else changed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vasa.inference.animate import animate
from vasa.inference.batch import run_list
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun, InferRun
from vasa.inference.jobs import job_of, write_jobs
from vasa.inference.pipeline import TalkingFace
from vasa.pretrained.config import DetectorConfig, MatteConfig, MatteNetConfig
from vasa.pretrained.files import save_network
from vasa.pretrained.matte import MatteNet
from vasa.video import VideoReader

SOUND = np.sin(np.arange(16_000) / 5).astype(np.float32)


class LeftIsPerson:
    """Says that the person stands in the left 15 columns. batches: how many frames it was given at a time."""

    name = "left"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def fitted(self, picture):
        return self

    def alpha(self, images):
        self.batches.append(len(images))
        alpha = torch.zeros(len(images), 1, *images.shape[2:])
        alpha[..., :15] = 1
        return alpha


def frames_of(face: TalkingFace, portrait) -> np.ndarray:
    return np.stack(list(face.generate(portrait, SOUND, 16_000, seed=2)))


def test_frames_are_the_carried_ones_where_the_person_is_and_the_plate_elsewhere(talking_face, picture):
    talking_face.matte = LeftIsPerson()
    carried = frames_of(talking_face, talking_face.prepare(picture))
    assert talking_face.matte.batches == []  # nobody asked
    portrait = talking_face.prepare(picture, background="plate")
    composed = frames_of(talking_face, portrait)
    assert talking_face.matte.batches == [1, 8, 8, 8, 8]
    assert (composed[:, :, :15] == carried[:, :, :15]).all()
    plate = ((portrait.backdrop.plate[0].permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(int)
    assert (composed[:, :, 15:] == plate[:, 15:]).all()
    assert (carried[:, :8, 15:] != composed[:, :8, 15:]).any()  # the stand-in draws its bars right across
    assert (plate[:, 17:] == portrait.picture[:, 17:]).all()


def test_an_unknown_background_is_refused_at_both_doors(talking_face, picture):
    with pytest.raises(ValueError, match="background is 'green'; wanted one of carried, plate"):
        talking_face.prepare(picture, background="green")
    with pytest.raises(ValueError, match="background is 'green'"):
        InferRun(background="green")


def test_a_missing_matte_is_one_sentence_and_no_video(talking_face, picture, tmp_path):
    face = TalkingFace(
        talking_face.face, talking_face.motion, talking_face.speech, talking_face.aligner,
        matte=MatteConfig(modnet=tmp_path / "gone.onnx"),
    )  # fmt: skip
    Image.fromarray(picture).save(tmp_path / "me.png")
    run = InferRun(image=tmp_path / "me.png", seconds=0.5, output=tmp_path / "o.mp4", background="plate")
    with pytest.raises(FileNotFoundError, match="gone.onnx"):
        animate(run, face)
    assert not (tmp_path / "o.mp4").exists()


def test_a_checkpoint_makes_videos_over_a_plate(tiny_runs, drawn_face, tmp_path):
    bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path / "bundle"))
    save_network(MatteNet(MatteNetConfig(size=32, widths=[8, 12])), tmp_path / "matte.safetensors", {})
    Image.fromarray(drawn_face).save(tmp_path / "me.png")
    run = InferRun(
        image=tmp_path / "me.png",
        checkpoint=tmp_path / "bundle",
        matte=MatteConfig(weights=tmp_path / "matte.safetensors"),
        detector=DetectorConfig(landmarks=None),
        background="plate",
        output=tmp_path / "o.mp4",
        device="cpu",
        size=64,
        seconds=0.4,
        allow_centre_crop=True,
    )
    assert len(VideoReader(animate(run).video)) == 10
    with pytest.raises(ValueError, match="wanted a MatteNet"):
        animate(replace(run, matte=MatteConfig(weights=tmp_path / "bundle" / "face.safetensors")))


def test_a_list_is_made_again_when_the_background_changes(talking_face, picture, tmp_path):
    talking_face.matte = LeftIsPerson()
    Image.fromarray(picture).save(tmp_path / "me.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16_000)
    write_jobs(tmp_path / "jobs.jsonl", [job_of(name="one", row="vasa", image="me.png", audio="a.wav")])
    job_file, seen = tmp_path / "vasa" / "one.job.json", []
    for kind in ("carried", "plate", "plate"):
        (video,) = run_list(InferRun(list=tmp_path / "jobs.jsonl", background=kind), talking_face)
        seen.append((video.stat().st_mtime_ns, json.loads(job_file.read_text())["made_by"].get("background")))
    assert [kind for _, kind in seen] == [None, "plate", "plate"]
    assert seen[0][0] != seen[1][0] == seen[2][0]

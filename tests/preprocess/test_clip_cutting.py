"""Raw videos into clips: every video gets its row, faces move in one crop, a stopped run carries on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import vasa.preprocess.clips as module
from vasa.data.clip_pairs import ClipPairs
from vasa.data.config import ClipPairsConfig, SpokenConfig
from vasa.data.manifest import KEPT, MANIFEST, read_manifest
from vasa.data.synthetic.clips import SyntheticClips
from vasa.preprocess.clips import masks_of, preprocess
from vasa.preprocess.config import PreprocessRun
from vasa.preprocess.crop import cut
from vasa.preprocess.framing import ClipFramer, look_places
from vasa.pretrained.config import DetectorConfig, MatteConfig
from vasa.pretrained.matte import build_matte
from vasa.video import VideoReader, VideoWriter

pytestmark = pytest.mark.timeout(900)  # half a minute on an idle core; others may keep it busy
SIZE, HEIGHT, WIDTH = 96, 200, 260
LEFT, RIGHT = (40, 20), (140, 60)  # where a 96 px head stands in the picture (x, y)
STATUSES = {
    "broken.mp4": "unreadable",
    "cut.mp4": KEPT,
    "empty.MOV": "unreadable",
    "id00001/a/00001.mp4": KEPT,
    "id00001/a/00002.mp4": KEPT,
    "id00002/b/00001.mp4": KEPT,
    "jumping.mp4": "moving",
    "short.mp4": "too_short",
    "still.mp4": "still",
    "wall.mp4": "no_face",
}


def place(frames, where, shape=(HEIGHT, WIDTH)):
    """Frames (T, S, S, 3) in larger grey pictures, from x, y on."""
    pictures = np.full((len(frames), *shape, 3), 120, np.uint8)
    x, y = where
    pictures[:, y : y + SIZE, x : x + SIZE] = frames
    return pictures


def write(path: Path, frames, fps=25.0, crf=8):
    with VideoWriter(path, *frames.shape[1:3], fps=fps, crf=crf) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def heads():
    """Two clips of people who talk for a second, with their truth."""
    spoken = SpokenConfig(espeak_share=0.0, singing_share=0.0, silent_share=0.0)
    clips = SyntheticClips("test", num_clips=2, seconds=1.0, size=SIZE, spoken=spoken)
    return [clips[0], clips[1]]


@pytest.fixture(scope="module")
def root(tmp_path_factory, heads):
    """A folder of videos as VoxCeleb2 lays them out, and of all that can be wrong with a video."""
    root = tmp_path_factory.mktemp("videos")
    first, second = (clip.frames for clip in heads)
    write(root / "id00001/a/00001.mp4", place(first, LEFT))
    write(root / "id00001/a/00002.mp4", place(first[::2], RIGHT), fps=12.5)
    write(root / "id00002/b/00001.mp4", place(second, RIGHT))
    write(root / "jumping.mp4", np.concatenate([place(first[:13], LEFT), place(second[:12], RIGHT)]))
    write(root / "short.mp4", place(first[:5], LEFT))
    write(root / "wall.mp4", np.full((25, 64, 64, 3), 120, np.uint8))
    (root / "broken.mp4").write_bytes(np.random.default_rng(0).bytes(3000))
    write(root / "still.mp4", place(first[[0] * 25], LEFT), crf=0)  # else the encoder improves on it
    whole = (root / "id00001/a/00001.mp4").read_bytes()
    (root / "cut.mp4").write_bytes(whole[: len(whole) * 7 // 8])
    (root / "empty.MOV").touch()
    (root / "notes.txt").write_text("no video")
    return root


def options(root: Path, out: Path, **more) -> PreprocessRun:
    return PreprocessRun(root=root, out=out, size=SIZE, max_frames=20, min_seconds=0.8, **more)


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """The folder that two processes made of it."""
    out = tmp_path_factory.mktemp("clips")
    preprocess(options(root, out, workers=2, validation_share=0.5))
    return out


def tensors(out, name):
    with safe_open(out / "clips" / f"{name}.safetensors", "pt") as file:
        return file.get_tensor("frames").numpy(), file.get_tensor("ticks").numpy()


def test_every_video_gets_a_row_that_says_what_became_of_it(made):
    rows = {row.file: row for row in read_manifest(made / MANIFEST)}
    assert {name: row.status for name, row in rows.items()} == STATUSES
    assert all((row.status == KEPT) == (row.reason == "") for row in rows.values())
    assert "0.20 s; wanted at least 0.8" in rows["short.mp4"].reason
    assert "8 of 8 looks" in rows["wall.mp4"].reason
    kept = rows["id00001/a/00001.mp4"]
    assert (kept.speaker, kept.fps, kept.seconds) == ("id00001", 25.0, 1.0)
    assert (kept.width, kept.height, kept.frames, kept.size) == (WIDTH, HEIGHT, 20, SIZE)
    assert str(made.parent) not in (made / MANIFEST).read_text()
    written = {path.relative_to(made).as_posix() for path in made.rglob("*.safetensors")}
    assert written == {row.clip for row in rows.values() if row.status == KEPT}
    assert not list(made.rglob("*.tmp*"))


def test_one_crop_follows_the_rule_and_lets_the_head_move(root, made, heads):
    """The square at which the median head would stand at the reference distance in the middle."""
    pictures = np.stack(list(VideoReader(root / "id00001/a/00001.mp4")))
    crop, _ = ClipFramer(DetectorConfig(), SIZE).place(pictures[look_places(len(pictures))])
    x, y, log_scale = heads[0].truth.animation.pose[:, 3:].median(0).values.tolist()
    side = SIZE * np.exp(log_scale)
    assert crop.side == pytest.approx(side, rel=0.1)  # what the cascade's refined points are good for
    centre = np.array(LEFT) + SIZE / 2 * np.array([1 + x, 1 - y])
    assert np.abs(np.array([crop.centre_x, crop.centre_y]) - centre).max() < 0.06 * side
    frames, ticks = tensors(made, "id00001/a/00001.mp4")
    assert (frames == np.stack([cut(picture, crop) for picture in pictures[ticks]])).all()


def test_any_rate_becomes_ticks_at_25_and_no_frame_comes_twice(made):
    frames, ticks = tensors(made, "id00001/a/00002.mp4")  # 13 frames at 12.5 per second
    assert ticks.tolist() == pytest.approx(list(range(0, 26, 2)), abs=1)
    assert len(frames) == 13
    _, even = tensors(made, "id00001/a/00001.mp4")  # 20 of 25
    assert even[0] == 0 and even[-1] == 24 and (np.diff(even) >= 1).all()


def test_masks_tell_people_from_what_is_behind_them(made, heads, tmp_path, root):
    """The grey around the pasted heads is behind them; the heads' own mattes are the truth of the rest."""
    rows = [row for row in read_manifest(made / MANIFEST) if row.status == KEPT]
    assert rows and all(row.masks == row.frames for row in rows)
    with safe_open(made / rows[0].clip, "pt") as file:
        frames, mask = file.get_tensor("frames"), file.get_tensor("mask")
    assert mask.shape == frames.shape[:3] and mask.dtype == torch.uint8
    middle = slice(SIZE // 3, 2 * SIZE // 3)
    assert mask[:, middle, middle].float().mean() > 240 and mask[:, :8, :8].float().mean() < 15
    half = len(frames) // 2
    alone = masks_of(frames[half : half + 1], build_matte(MatteConfig()))[0].float()
    assert (alone - mask[half]).abs().max() <= 1, "batches change nothing but rounding"
    with pytest.raises(ValueError, match="another masks; name another folder or keep to masks=True"):
        preprocess(options(root, made, masks=False))
    (row,) = preprocess(options(root / "id00002", tmp_path, masks=False))
    with safe_open(tmp_path / row.clip, "pt") as file:
        assert row.masks == 0 and set(file.keys()) == {"frames", "ticks"}


def test_pairs_are_drawn_from_what_was_made(root, made):
    """Another validation share moves speakers and makes nothing again."""
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.safetensors")}
    manifest = (made / MANIFEST).read_bytes()
    try:
        preprocess(options(root, made, validation_share=0.0))
        batch = ClipPairs(ClipPairsConfig(root=made, size=64)).batch_at(0, 24)
    finally:
        (made / MANIFEST).write_bytes(manifest)
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*.safetensors")}
    assert {name.split("/")[1] for name in batch.ids} >= {"id00001", "id00002"}
    assert (batch.source != batch.target).flatten(1).any(1).all()
    assert batch.mask is not None and batch.mask.shape == (24, 64, 64)


def test_consecutive_frames_are_the_middle_of_the_video(root, tmp_path):
    run = PreprocessRun(root=root / "id00002", out=tmp_path, size=64, max_frames=9, spacing="consecutive")
    (row,) = preprocess(run)
    assert row.frames == 9 and row.clip == "clips/b/00001.mp4.safetensors"
    assert tensors(tmp_path, "b/00001.mp4")[1].tolist() == list(range(8, 17))


def test_a_killed_run_carries_on_to_the_same_manifest(root, made, tmp_path, monkeypatch):
    """Killed in its fourth video; the line in hand is torn, and a clip that was made is lost."""
    run, make, seen = options(root, tmp_path, validation_share=0.5), module.make_clip, []

    def make_few(*arguments):
        seen.append(arguments[2].name)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return make(*arguments)

    monkeypatch.setattr(module, "make_clip", make_few)
    with pytest.raises(KeyboardInterrupt):
        preprocess(run)
    assert not (tmp_path / MANIFEST).exists()
    notes = tmp_path / "rows" / "0000.jsonl"
    notes.write_text(notes.read_text()[:-20])
    seen[:] = [""] * 5
    preprocess(run)
    assert len(seen) - 5 == len(STATUSES) - 3, "of four done one was torn"
    assert (tmp_path / MANIFEST).read_bytes() == (made / MANIFEST).read_bytes()
    for path in made.rglob("*.safetensors"):
        assert (tmp_path / path.relative_to(made)).read_bytes() == path.read_bytes()
    (tmp_path / "clips/id00002/b/00001.mp4.safetensors").unlink()
    seen[:] = [""] * 5
    preprocess(run)
    assert seen[5:] == ["00001.mp4"], "a lost clip is made again, and nothing else"


def test_another_size_in_the_same_folder_is_refused(root, tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"size": 64}))
    with pytest.raises(ValueError, match=r"was made with another size, .*size=64"):
        preprocess(options(root, tmp_path))


def test_a_folder_without_videos_and_none_at_all_are_named(tmp_path):
    with pytest.raises(ValueError, match="holds no video"):
        preprocess(options(tmp_path, tmp_path / "out"))
    with pytest.raises(FileNotFoundError, match="is no folder"):
        preprocess(options(tmp_path / "none", tmp_path / "out"))
    assert not (tmp_path / "out").exists()

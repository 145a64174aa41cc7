"""Shards: plain tars that WebDataset reads, the same bytes again, and every clip at its place."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import webdataset
from clip_folders import FRAMES, clip, pictures, shown, write_folder

from vasa.data.clip_store import ClipStore
from vasa.data.config import EncodeConfig
from vasa.data.manifest import MANIFEST, ManifestRow, read_rows, to_json
from vasa.data.members import decode_frames, decode_masks, decode_signals, decode_sound
from vasa.data.shards import (
    FragmentWriter,
    fragment_rows,
    is_done,
    join_fragments,
    make_sample,
    remove_fragments,
)

SPEAKERS = ("id00001", "id00001", "id00002", "id00003")
MEMBERS = ("json", "mp4", "mask.mp4", "flac", "signals.safetensors")


def samples():
    return [
        clip(number, name, distance=1.0 + number, gaze_yaw=0.1, gaze_pitch=-0.1)
        for number, name in enumerate(SPEAKERS)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    rejected = [ManifestRow(id="x-000", kind="clip", speaker="x", split="train", status="no_face")]
    write_folder(folder, samples(), rejected)
    return folder


@pytest.fixture
def fragments(tmp_path):
    paths = []
    for number, sample in enumerate(samples()[:2]):
        paths.append(tmp_path / "work" / f"{number}.tar")
        with FragmentWriter(paths[-1]) as fragment:
            fragment.add(sample)
            fragment.note(ManifestRow(id=f"{number}", kind="input"))
    return paths


def test_webdataset_reads_whole_samples(folder):
    found = list(webdataset.WebDataset(str(folder / "shards" / "000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == ["id00001-v-000", "id00001-v-001"]
    for number, sample in enumerate(found):
        assert {name for name in sample if not name.startswith("__")} == set(MEMBERS)
        frames = decode_frames(io.BytesIO(sample["mp4"]), range(FRAMES))
        assert (shown(frames)[0] == number).all() and (shown(frames)[1] == np.arange(FRAMES)).all()
        assert decode_masks(io.BytesIO(sample["mask.mp4"]), [3]).shape == frames.shape[:0] + (1, 96, 96)
        assert decode_sound(io.BytesIO(sample["flac"])) == pytest.approx(number / 100, abs=1e-4)
        assert (decode_signals(sample["signals.safetensors"])["pose"][:, 0] == np.arange(FRAMES)).all()
        assert json.loads(sample["json"])["distance"] == 1.0 + number


def test_headers_say_nothing_of_where_and_when(folder):
    with tarfile.open(folder / "shards" / "000001.tar") as tar:
        names = [member.name for member in tar]
        assert names == [
            f"{key}.{ending}" for key in ("id00002-v-002", "id00003-v-003") for ending in MEMBERS
        ]
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert member.mode == 0o644 and member.isreg()


def test_the_store_reads_each_clip_at_its_place(folder):
    store = ClipStore(folder)
    assert len(store) == 4 and [store.clip_id(n) for n in range(4)] == [s.row.id for s in samples()]
    assert store.speaker.tolist() == [0, 0, 1, 2] and store.speaker_names == list(dict.fromkeys(SPEAKERS))
    for number in range(4):
        found = shown(store.frames(number, [7, 20, 0]))
        assert found[0].tolist() == [number] * 3 and found[1].tolist() == [7, 20, 0]
        assert shown(store.masks(number, [5]))[0].tolist() == [number]
        assert store.sound(number) == pytest.approx(number / 100, abs=1e-4)
        assert store.signals(number)["identity"].tolist() == [0, 0.25, 0.5, 0.75]
    assert store.numbers(["id00003-v-003", "id00001-v-000"]).tolist() == [3, 0]
    with pytest.raises(ValueError, match="has no kept clip 'x-000'"):
        store.numbers(["id00001-v-000", "x-000"])
    assert len(ClipStore(folder, "validation")) == 0


def test_a_whole_clip_has_its_conditions(folder):
    found = ClipStore(folder, "train").read(3)
    assert found.num_frames == FRAMES and found.clip_id == "id00003-v-003" and found.identity == 2
    assert (shown(found.frames)[1] == np.arange(FRAMES)).all()
    assert found.gaze.tolist() == pytest.approx([0.1, -0.1]) and found.distance == 4.0
    assert found.emotion is None, "nobody measured it"


def test_shards_are_the_same_bytes_again_and_know_when_they_are_done(fragments, tmp_path):
    shard = tmp_path / "shards" / "a.tar"
    assert not is_done(shard)
    rows = join_fragments(fragments, shard)
    assert is_done(shard) and [row.id for row in rows] == ["id00001-v-000", "0", "id00001-v-001", "1"]
    assert [row.shard for row in rows] == ["shards/a.tar", "", "shards/a.tar", ""]
    assert list(map(to_json, read_rows(shard.with_suffix(".parquet")))) == list(map(to_json, rows))
    first = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (shard, shard.with_suffix(".parquet"))]
    shard.write_bytes(shard.read_bytes()[:-512])
    assert not is_done(shard)
    join_fragments(fragments, shard)
    assert first == [
        hashlib.sha256(p.read_bytes()).hexdigest() for p in (shard, shard.with_suffix(".parquet"))
    ]
    shard.unlink()
    assert not is_done(shard)
    remove_fragments(tmp_path / "work")
    remove_fragments(tmp_path / "work")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.parquet"]


def test_a_shard_of_nothing_is_a_table_alone(tmp_path):
    with FragmentWriter(tmp_path / "0.tar") as fragment:
        fragment.note(ManifestRow(id="a", kind="input", status="no_face"))
    shard = tmp_path / "shards" / "a.tar"
    (row,) = join_fragments([tmp_path / "0.tar"], shard)
    assert row.status == "no_face" and is_done(shard) and not shard.exists()


def test_a_fragment_is_whole_or_not_there(fragments, tmp_path):
    with pytest.raises(KeyboardInterrupt), FragmentWriter(tmp_path / "2.tar") as fragment:
        fragment.add(samples()[2])
        raise KeyboardInterrupt
    assert not list(tmp_path.glob("*.tar")) and not list(tmp_path.glob(".*"))
    assert [row.id for row in fragment_rows(fragments[0])] == ["id00001-v-000", "0"]
    whole = fragments[0].read_bytes()
    for broken in (b"", whole[:100], whole[: len(whole) // 2]):
        fragments[0].write_bytes(broken)
        with pytest.raises(ValueError, match=r"0\.tar is damaged .*; delete it and run"):
            join_fragments(fragments, tmp_path / "shards" / "a.tar")
    assert not is_done(tmp_path / "shards" / "a.tar")


def test_long_names_are_found_and_bad_ones_refused(tmp_path):
    long = samples()[0]
    long.row.id = "v" * 160
    with FragmentWriter(tmp_path / "0.tar") as fragment:
        fragment.add(long)
        for key in ("v.1", "a/b", "", "é", "v" * 161):
            long.row.id = key
            with pytest.raises(ValueError, match="wanted 1 to 160 letters"):
                fragment.add(long)
    (row,) = join_fragments([tmp_path / "0.tar"], tmp_path / "shards" / "a.tar")
    (tmp_path / "shards" / "a.parquet").rename(tmp_path / MANIFEST)
    assert row.id == "v" * 160
    assert shown(ClipStore(tmp_path).frames(0, [4]))[1].tolist() == [4]


@pytest.mark.parametrize("damage", ["missing", "cut", "zeros", "another"])
def test_a_damaged_shard_names_itself_the_clip_and_the_cure(folder, tmp_path, damage):
    (tmp_path / "shards").mkdir()
    (tmp_path / MANIFEST).write_bytes((folder / MANIFEST).read_bytes())
    path = tmp_path / "shards" / "000000.tar"
    data = (folder / "shards" / "000000.tar").read_bytes()
    if damage != "missing":
        place = ClipStore(folder)._places["mp4_offset"][1]
        other = (folder / "shards" / "000001.tar").read_bytes()
        zeros = data[:place] + bytes(len(data) - place)
        path.write_bytes({"cut": data[: place + 600], "zeros": zeros, "another": other}[damage])
    with pytest.raises(
        ValueError, match=r"000000\.tar: id00001-v-001\.mp4 cannot be read .*delete this shard"
    ):
        ClipStore(tmp_path).frames(1, [20])


def test_an_id_that_comes_twice_is_refused(fragments, tmp_path):
    with pytest.raises(ValueError, match="comes twice"), FragmentWriter(tmp_path / "2.tar") as fragment:
        fragment.add(samples()[2])
        fragment.add(samples()[2])
    with pytest.raises(ValueError, match="clips of several inputs have one id"):
        join_fragments([fragments[0], *fragments], tmp_path / "shards" / "a.tar")
    assert not list(tmp_path.glob("shards/*"))


def test_lengths_must_agree():
    frames, sound = pictures(0, 3), np.zeros(3 * 640, np.float32)
    row = ManifestRow(id="a", kind="clip")
    with pytest.raises(ValueError, match="3 frames, 1919 samples"):
        make_sample(row, frames, sound[1:], {}, EncodeConfig())
    with pytest.raises(ValueError, match="and 2 masks"):
        make_sample(row, frames, sound, {}, EncodeConfig(), frames[:2, ..., 0])
    plain = make_sample(row, frames, sound, {}, EncodeConfig())
    assert (plain.row.frames, plain.row.size) == (3, 96) and set(plain.members) == {"mp4", "flac"}

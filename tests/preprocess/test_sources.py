"""What a data set holds: ids that stay, speakers and splits by the layouts, and files that are none."""

import os
import re

import pytest

from vasa.preprocess.config import SourceConfig
from vasa.preprocess.sources import MAX_ID, find_inputs, input_id


def tree(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("no video")
    return root


def by_path(root, **options):
    return {item.path: item for item in find_inputs(SourceConfig(root=root, **options))}


def test_voxceleb2s_own_tree(tmp_path):
    tree(
        tmp_path,
        "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
        "dev/mp4/id00012/a-b_c-d_e-f/00010.mp4",
        "test/mp4/id00017/01dfn2spqyE/00001.mp4",
        "test/txt/id00017/01dfn2spqyE/00001.txt",
    )
    found = find_inputs(SourceConfig(root=tmp_path, layout="voxceleb2"))
    assert [(item.id, item.speaker, item.split) for item in found] == [
        ("id00012-21Uxsk56VDQ-00001", "id00012", "dev"),
        ("id00012-a-b_c-d_e-f-00010", "id00012", "dev"),
        ("id00017-01dfn2spqyE-00001", "id00017", "test"),
    ]
    assert found[0].sound == tmp_path / "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"
    assert found[0].video.is_file() and found[1].sound is None


@pytest.mark.parametrize("above", ["", "mp4/", "vox2/dev/mp4/"])
def test_voxceleb2_from_any_folder_of_it(tmp_path, above):
    tree(tmp_path, f"{above}id00012/21Uxsk56VDQ/00001.mp4", f"{above}other.mp4")
    found = by_path(tmp_path, layout="voxceleb2")
    item = found[f"{above}id00012/21Uxsk56VDQ/00001.mp4"]
    assert (item.id, item.speaker) == ("id00012-21Uxsk56VDQ-00001", "id00012")
    assert item.split == ("dev" if "dev" in above else "")
    assert found[f"{above}other.mp4"].speaker == f"{above}other"


@pytest.mark.parametrize("below", ["test", "test/mp4", "test/mp4/id00017"])
def test_below_voxceleb2s_folders_test_stays_test_and_sound_is_found(tmp_path, below):
    tree(tmp_path, "test/mp4/id00017/01dfn2spqyE/00001.mp4", "test/aac/id00017/01dfn2spqyE/00001.m4a")
    (item,) = find_inputs(SourceConfig(root=tmp_path / below, layout="voxceleb2"))
    assert (item.id, item.speaker, item.split) == ("id00017-01dfn2spqyE-00001", "id00017", "test")
    assert item.sound == tmp_path / "test/aac/id00017/01dfn2spqyE/00001.m4a"


def test_two_files_of_one_id_are_named_before_any_work(tmp_path):
    tree(tmp_path, *(f"dev/{name}/id00012/21Uxsk56VDQ/00001.mp4" for name in ("mp4", "mp4_hd")))
    with pytest.raises(ValueError, match=r"dev/mp4/.* and dev/mp4_hd/.* are both id00012-21Uxsk56VDQ-00001"):
        find_inputs(SourceConfig(root=tmp_path, layout="voxceleb2"))


def test_a_folder_that_cannot_be_read_stops_all(tmp_path, monkeypatch):
    tree(tmp_path, "a/x.mp4", "b/y.mp4")
    scandir = os.scandir

    def broken(path):
        if str(path).endswith("/b"):
            raise OSError(5, "Input/output error", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(OSError, match="Input/output error"):
        find_inputs(SourceConfig(root=tmp_path))


def test_a_folders_depth_says_who_speaks(tmp_path):
    tree(tmp_path, "M003/front/001.mp4", "W009/front/001.MP4", "alone.webm", "M003/front/001.wav")
    found = by_path(tmp_path, speaker_depth=1)
    assert {path: item.speaker for path, item in found.items()} == {
        "M003/front/001.mp4": "M003",
        "W009/front/001.MP4": "W009",
        "alone.webm": "alone",
    }
    assert found["M003/front/001.mp4"].sound == tmp_path / "M003/front/001.wav"
    assert by_path(tmp_path)["M003/front/001.mp4"].speaker == "M003/front/001"
    assert by_path(tmp_path, speaker_depth=2)["M003/front/001.mp4"].speaker == "M003-front"


def test_parts_of_a_long_recording_are_of_one_speaker(tmp_path):
    tree(tmp_path, "WDA_AdamSchiff_000.mp4", "WDA_AdamSchiff_001.mp4", "RD_Radio10_000.mp4", "plain.mp4")
    speakers = {item.speaker for item in by_path(tmp_path, layout="long").values()}
    assert speakers == {"WDA_AdamSchiff", "RD_Radio10", "plain"}


def test_whatever_is_named_as_a_video_is_listed(tmp_path):
    tree(tmp_path, "a.mp4", "notes.txt", ".hidden.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "again").symlink_to(tmp_path)
    assert set(by_path(tmp_path)) == {"a.mp4", "gone.mp4"}


STRANGE = [
    "a b.mp4",
    "a_b.mp4",
    "é.mp4",
    "фото.mp4",
    "a'b.mp4",
    "a,b.mp4",
    "a=b.mp4",
    "a.b.mp4",
    "x.MP4",
    "x.mp4",
]
STRANGE += [
    "x.mkv",
    "-x.mp4",
    "a\nb.mp4",
    "d/a-b.mp4",
    "d-a/b.mp4",
    "d/a/b.mp4",
    "%03d.mp4",
    "concat:a|b.mp4",
]
STRANGE += ["?" * 100 + ".mp4", "w" * 200 + ".mp4", "w" * 201 + ".mp4"]


def test_ids_are_safe_unique_and_stay(tmp_path):
    tree(tmp_path, *STRANGE)
    before = by_path(tmp_path)
    ids = {path: item.id for path, item in before.items()}
    assert len(set(ids.values())) == len(STRANGE)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and len(name) <= MAX_ID for name in ids.values())
    assert ids["x.mp4"] == "x" and ids["d/a/b.mp4"] == "d-a-b"
    assert [item.id for item in before.values()] == sorted(ids.values())
    tree(tmp_path, "x-.mp4", "another.mp4")
    after = by_path(tmp_path)
    assert {path: after[path].id for path in ids} == ids
    assert all(item.file.isprintable() and item.speaker.isprintable() for item in before.values())


def test_names_that_are_no_text_are_listed_too(tmp_path):
    name = os.fsdecode(b"bad\xff\xfe.mp4")
    tree(tmp_path, name)
    (item,) = find_inputs(SourceConfig(root=tmp_path))
    assert item.video.is_file()
    assert item.file == "bad\\xff\\xfe.mp4" and item.file.encode()
    assert re.fullmatch(r"bad_-[0-9a-f]{10}", item.id) and item.id == input_id(name)


def test_a_folder_without_videos_and_none_at_all_are_named(tmp_path):
    with pytest.raises(ValueError, match="holds no video"):
        find_inputs(SourceConfig(root=tmp_path))
    with pytest.raises(FileNotFoundError, match="is no folder"):
        find_inputs(SourceConfig(root=tmp_path / "none"))
    with pytest.raises(ValueError, match="data.layout is 'vox'"):
        SourceConfig(root=tmp_path, layout="vox")

"""Splits: by speaker, by a seed, whoever else is there; the evaluation list is the same every time."""

import pyarrow as pa
import pytest

from vasa.data.config import SplitConfig
from vasa.data.manifest import MANIFEST, ManifestRow, write_rows
from vasa.data.splits import assign_splits, evaluation_clips, read_list, write_splits

NAMES = [f"id{number:05d}" for number in range(4000)]


def members(splits, split):
    return {name for name, where in splits.items() if where == split}


def test_shares_are_as_asked_and_grow_without_moving_others():
    def drawn(names=NAMES, **options):
        return assign_splits([(name, "") for name in names], SplitConfig(**options))

    small = drawn(validation_share=0.05, test_share=0.1)
    large = drawn(validation_share=0.2, test_share=0.1)
    assert len(members(small, "validation")) / 4000 == pytest.approx(0.05, abs=0.015)  # four deviations
    assert len(members(small, "test")) / 4000 == pytest.approx(0.1, abs=0.02)
    assert members(small, "validation") < members(large, "validation")
    assert members(small, "test") == members(large, "test")
    some = drawn(NAMES[::7], validation_share=0.05, test_share=0.1)
    assert all(small[name] == split for name, split in some.items()), "whoever else is there"
    assert drawn(validation_share=0.05, test_share=0.1, seed=1) != small
    assert set(drawn(validation_share=0).values()) == {"train"}


def test_official_test_speakers_stay_in_the_test_with_all_their_inputs():
    inputs = [("a", "test"), ("b", "train"), ("a", "train"), ("c", "train"), ("c", "test")]
    config = SplitConfig(validation_share=1)
    assert assign_splits(inputs, config) == {"a": "test", "b": "validation", "c": "test"}


def clips(speakers, each, seconds=8.0):
    names = [(f"s{s:03d}", f"s{s:03d}-{k:03d}") for s in range(speakers) for k in range(each(s))]
    return [{"id": name, "speaker": speaker, "seconds": seconds} for speaker, name in names]


def test_the_evaluation_list_is_46_speakers_of_10_clips_drawn_by_the_seed():
    table = pa.Table.from_pylist([*clips(60, lambda s: 12), *clips(3, lambda s: 99, seconds=4.9)])
    drawn = evaluation_clips(table, SplitConfig())
    assert len(drawn) == len(set(drawn)) == 460 and drawn == sorted(drawn)
    counts = {name: sum(clip.startswith(name) for clip in drawn) for name in {clip[:4] for clip in drawn}}
    assert len(counts) == 46 and set(counts.values()) == {10}
    assert evaluation_clips(table.slice(0, len(table)).sort_by("id"), SplitConfig()) == drawn
    assert evaluation_clips(table, SplitConfig(seed=1)) != drawn


def test_fewer_are_said_and_speakers_with_enough_come_first(caplog):
    table = pa.Table.from_pylist(clips(20, lambda s: 3 if s < 12 else 10))
    drawn = evaluation_clips(table, SplitConfig(test_speakers=10))
    assert {f"s{s:03d}" for s in range(12, 20)} < {clip[:4] for clip in drawn}
    assert len(drawn) == 8 * 10 + 2 * 3
    assert "has 86 clips of 10 speakers; wanted 10 of each of 10" in caplog.text


def test_splits_are_written_as_text(tmp_path):
    rows = [
        ManifestRow(id=f"{name}-{k}", kind="clip", speaker=name, split=split, seconds=6.0)
        for name, split in (("a", "train"), ("b", "test"), ("c", "test"))
        for k in range(3)
    ]
    rows[-1].status = "blurred"
    write_rows(tmp_path / MANIFEST, rows)
    config = SplitConfig(test_speakers=2, test_clips=2)
    write_splits(tmp_path, {"c": "test", "b": "test", "a": "train", "caf\udce9": "train"}, config)
    folder = tmp_path / "splits"
    assert read_list(folder / "test.txt") == ["b", "c"] and read_list(folder / "validation.txt") == []
    assert read_list(folder / "train.txt") == ["a", "caf\\xe9"]
    drawn = read_list(folder / "evaluation.txt")
    assert len(drawn) == 4 and {name[0] for name in drawn} == {"b", "c"} and "c-2" not in drawn
    with pytest.raises(FileNotFoundError, match=r"scripts/preprocess\.py writes it"):
        read_list(folder / "other.txt")


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="shares from 0 that make 1 at most"):
        SplitConfig(validation_share=0.6, test_share=0.6)
    with pytest.raises(ValueError, match="the shorter length first"):
        SplitConfig(min_seconds=9, max_seconds=8)

"""The manifest: what is written is read, by columns and by rows, and what is none is refused."""

import json
import math
from dataclasses import fields

import pyarrow.parquet as pq
import pytest

from vasa.data.manifest import (
    COLUMNS,
    MANIFEST,
    PLACES,
    ManifestRow,
    from_json,
    join_tables,
    kept_clips,
    read_about,
    read_rows,
    read_table,
    to_json,
    to_plain,
    write_rows,
)


def some_rows():
    kept = ManifestRow(
        id="a-000", kind="clip", speaker="id00012", split="train", shard="shards/000000.tar", mp4_offset=1536,
        mp4_length=7000, frames=200, size=512, seconds=8.0, side_px=181.5, distance=1.1,
        emotion=[1.0] + [0.0] * 7, reason='said "no",\nand öäü',
    )  # fmt: skip
    return [
        ManifestRow(id="a", kind="input", file="dev/a.mp4", speaker="id00012", split="train", fps=25.0),
        kept,
        ManifestRow(
            id="a-001", kind="clip", speaker="id00012", split="train", status="blurred", reason="2.1"
        ),
        ManifestRow(id="b", kind="input", speaker="x", split="test", status="no_face"),
        ManifestRow(id="c-000", kind="clip", speaker="y", split="test"),
    ]


def alike(found, wanted):
    """Equal, NaN and all."""
    return json.dumps([to_plain(row) for row in found]) == json.dumps([to_plain(row) for row in wanted])


def test_the_table_gives_back_what_was_written(tmp_path):
    path = tmp_path / MANIFEST
    about = {"steps": ["probe", "crop"], "size": 512}
    write_rows(path, some_rows(), about)
    assert alike(read_rows(path), some_rows()) and read_about(path) == about
    assert math.isnan(read_rows(path)[0].blur)
    assert [field.name for field in fields(ManifestRow)] == list(COLUMNS) == pq.read_schema(path).names
    again = tmp_path / "again.parquet"
    write_rows(again, read_rows(path), about)
    assert again.read_bytes() == path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] != [], "and no temporary file is left"
    assert not list(tmp_path.glob(".*"))


def test_a_row_is_json_without_its_place(tmp_path):
    row = some_rows()[1]
    values = json.loads(to_json(row))
    assert values["blur"] is None and values["side_px"] == 181.5 and values["reason"] == row.reason
    assert not set(PLACES) & set(values)
    for place in ("shard", "mp4_offset", "mp4_length"):
        setattr(row, place, getattr(ManifestRow(id="", kind="clip"), place))
    assert alike([from_json(to_json(row))], [row])
    for text in ("{", "[]", "{}", '{"id": "a", "kind": "clip", "emotion": [], "mood": 1}'):
        with pytest.raises(ValueError, match="no row of a manifest"):
            from_json(text)
    with pytest.raises(ValueError, match="kind is 'film'"):
        ManifestRow(id="a", kind="film")


def test_a_name_that_is_no_text_can_be_stored(tmp_path):
    row = ManifestRow(
        id="a", kind="input", file=b"caf\xe9 \xf0\x9f\x98\x80.mp4".decode("utf-8", "surrogateescape")
    )
    write_rows(tmp_path / MANIFEST, [row])
    (found,) = read_rows(tmp_path / MANIFEST)
    assert found.file == "caf\\xe9 😀.mp4" == json.loads(to_json(row))["file"]


def test_readers_take_columns_and_rows_that_they_ask_for(tmp_path):
    write_rows(tmp_path / MANIFEST, some_rows())
    table = kept_clips(tmp_path / MANIFEST, ["seconds", "id"])
    assert table.to_pydict() == {"seconds": [8.0, 0.0], "id": ["a-000", "c-000"]}
    assert kept_clips(tmp_path / MANIFEST, ["id"], "test").to_pydict() == {"id": ["c-000"]}
    lost = read_table(tmp_path / MANIFEST, ["id", "reason"], [("status", "!=", "kept")])
    assert lost["id"].to_pylist() == ["a-001", "b"]


def test_many_tables_become_one_in_order(tmp_path, monkeypatch):
    parts = []
    for number, row in enumerate(some_rows()):
        parts.append(tmp_path / f"{number}.parquet")
        write_rows(parts[-1], [row])
    write_rows(tmp_path / "none.parquet", [])
    join_tables(tmp_path / MANIFEST, [*parts, tmp_path / "none.parquet"], {"of": 5})
    assert alike(read_rows(tmp_path / MANIFEST), some_rows()) and read_about(tmp_path / MANIFEST) == {"of": 5}
    monkeypatch.setattr("vasa.data.manifest.ROWS_AT_ONCE", 2)
    join_tables(tmp_path / "small.parquet", parts)
    assert alike(read_rows(tmp_path / "small.parquet"), some_rows())
    assert pq.read_metadata(tmp_path / "small.parquet").num_row_groups == 3
    join_tables(tmp_path / "empty.parquet", [])
    assert read_rows(tmp_path / "empty.parquet") == []


def test_what_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / MANIFEST
    with pytest.raises(FileNotFoundError, match=r"scripts/preprocess\.py"):
        read_rows(path)
    write_rows(path, some_rows())
    whole = path.read_bytes()
    for broken in (b"", b"id,kind\na,clip\n", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is no manifest of this version, or is damaged"):
            read_rows(path)
    pq.write_table(pq.ParquetFile(_restored(path, whole)).read(["id", "kind"]), path)
    with pytest.raises(ValueError, match="is no manifest of this version"):
        kept_clips(path, ["id"])


def _restored(path, data):
    path.write_bytes(data)
    return path

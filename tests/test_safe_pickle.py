"""Arrays out of other people's pickle files, and nothing run."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from vasa.safe_pickle import PickleFileError, load_arrays


class Hostile:
    """What unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.path}'",)


def written(path: Path, value: object, protocol: int | None = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<i8", "|u1", "|b1", "<f2"])
def test_arrays_come_out_as_they_went_in(tmp_path: Path, protocol: int, kind: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(kind)
    for wanted in (array, np.asfortranarray(array), np.zeros((0, 4), kind), np.array(3).astype(kind)):
        got = load_arrays(written(tmp_path / "a.pkl", wanted, protocol))
        assert got.shape == wanted.shape and got.dtype == wanted.dtype.newbyteorder("=")
        assert np.array_equal(got, wanted)
        got[...] = 1  # an array of one's own, not a view into the file


def test_nested_plain_data_comes_out_as_it_went_in(tmp_path: Path) -> None:
    value = {"n": 3, "x": [1.5, None, True, "text", (1, 2)], 4: {"deep": [[]]}}
    assert load_arrays(written(tmp_path / "a.pkl", value)) == value


def test_both_spellings_of_numpy_are_read(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(3.0), 3)
    for old, new in ((b"numpy._core.multiarray", b"numpy.core.multiarray"), (b"numpy.core", b"numpy._core")):
        path = tmp_path / "a.pkl"
        path.write_bytes(content.replace(old, new))
        assert load_arrays(path).tolist() == [0, 1, 2]


def test_a_file_that_would_run_something_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = written(tmp_path / "bad.pkl", {"mean_exp": Hostile(proof)})
    with pytest.raises(PickleFileError, match=r"bad.pkl is refused: it asks for \w+.system"):
        load_arrays(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())
    assert proof.exists(), "the file was not hostile, so the test proved nothing"


@pytest.mark.parametrize(
    "value",
    [np.array([{}], object), np.array(["text"]), {1, 2}, 1j, {(1, 2): 3}, np.float64(1.0), b"bytes"],
    ids=["objects", "strings", "set", "complex", "tuple key", "numpy scalar", "bytes"],
)
def test_what_is_no_plain_data_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(PickleFileError, match=r"a.pkl is refused"):
        load_arrays(written(tmp_path / "a.pkl", value))


def test_shapes_that_do_not_fit_the_content_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(7, dtype=np.int8), 3)
    path = tmp_path / "a.pkl"
    path.write_bytes(content.replace(b"K\x07\x85", b"K\x70\x85"))  # a shape of (112,)
    with pytest.raises(PickleFileError, match=r"shape \(112,\) with 7 bytes"):
        load_arrays(path)


def test_a_list_that_holds_itself_is_refused_and_one_that_is_shared_is_not(tmp_path: Path) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(PickleFileError, match="contains itself"):
        load_arrays(written(tmp_path / "loop.pkl", loop))
    shared: list[object] = []
    for _ in range(60):
        shared = [shared, shared]
    assert len(load_arrays(written(tmp_path / "shared.pkl", shared))) == 2


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    path.write_bytes(pickle.dumps({"a": np.arange(30)}, 4)[:-20])
    with pytest.raises(PickleFileError, match="cut.pkl"):
        load_arrays(path)
    with pytest.raises(FileNotFoundError, match="none.pkl"):
        load_arrays(tmp_path / "none.pkl")


@pytest.mark.media
@pytest.mark.parametrize("name", ["d1.pkl", "talking.pkl"])
def test_published_motion_templates_are_read(media: Path, name: str) -> None:
    path = media / "motion" / name
    if not path.is_file():
        pytest.skip("no ../shared")
    template = load_arrays(path)
    assert len(template["motion"]) == template["n_frames"] > 10
    assert template["motion"][0]["exp"].shape == (1, 21, 3)
    assert all(np.isfinite(frame["exp"]).all() for frame in template["motion"])

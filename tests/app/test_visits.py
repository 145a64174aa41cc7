"""Folders of visits: what may be taken, under which name, and that nothing stays."""

import os

import pytest

from vasa.app.visits import Visits, plain_name


@pytest.fixture
def visits(tmp_path):
    return Visits(most=2, idle_s=100, root=tmp_path / "root")


def upload(visits, name="me.jpg", text="picture", folder="0a1b"):
    path = visits.uploads / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("me.JPG", "me.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("photo (1).jpeg", "photo_1.jpeg"),
        ("a b;rm -rf $HOME.png", "a_b_rm_-rf_HOME.png"),
        ("фото.jpg", "фото.jpg"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        ("-o.mp4", "o.mp4"),
        ("x\0y.png", "x_y.png"),
        ("n" * 300 + ".png", "n" * 60 + ".png"),
        ("a.<script>", "a.script"),
    ],
)
def test_a_name_is_only_a_name(given, plain):
    assert plain_name(given) == plain


def test_a_visit_takes_uploads_and_nothing_else(visits, tmp_path):
    visit = visits.of("a")
    taken = visit.take(upload(visits, "photo (1).JPG"), 1e6)
    assert taken.read_text() == "picture"
    assert taken.name == "photo_1.jpg"
    assert taken.is_relative_to(visit.folder)
    (tmp_path / "secret").write_text("secret")
    (visits.uploads / "link").symlink_to(tmp_path / "secret")
    for other in (tmp_path / "secret", visits.uploads / ".." / ".." / "secret", visits.uploads / "link"):
        with pytest.raises(ValueError, match="That is no uploaded file"):
            visit.take(other, 1e6)
    with pytest.raises(FileNotFoundError, match="is gone"):
        visit.take(visits.uploads / "nothing.png", 1e6)
    with pytest.raises(ValueError, match=r"me.jpg has 0.0 MB; wanted at most 3e-06 MB"):
        visit.take(upload(visits), 3)


def test_a_visit_that_ends_leaves_nothing_but_what_others_use(visits):
    first, second = visits.of("a"), visits.of("b")
    shared, own = upload(visits), upload(visits, "own.jpg", folder="2c3d")
    for visit, path in ((first, shared), (first, own), (second, shared)):
        visit.take(path, 1e6)
    visits.end("a")
    assert first.stopped.is_set()
    assert not first.folder.exists()
    assert (shared.exists(), own.exists()) == (True, False)
    with pytest.raises(ValueError, match="This visit has ended"):
        first.new_folder()
    visits.end("b")
    assert not shared.exists()
    visits.close()
    assert not visits.root.exists()


def test_the_pages_own_pictures_stay(visits):
    path = upload(visits)
    visits.keep_uploads()
    visits.of("a").take(path, 1e6)
    visits.end("a")
    assert path.exists()


def test_one_visit_more_than_there_may_be_ends_the_idlest(visits):
    first, second = visits.of("a"), visits.of("b")
    visits.of("a")
    visits.of("c")
    assert (first.ended, second.ended, len(visits)) == (False, True, 2)


def test_an_idle_visit_ends_when_the_next_begins(tmp_path):
    visits = Visits(most=9, idle_s=0.0, root=tmp_path / "root")
    first = visits.of("a")
    visits.of("b")
    assert first.ended
    assert not first.folder.exists()


def test_an_address_reaches_files_of_its_own_visit_alone(visits):
    first, second = visits.of("a"), visits.of("b")
    file = first.new_folder() / "o.mp4"
    file.write_text("video")
    name = os.fspath(file.relative_to(first.folder))
    assert first.address(file) == f"/visit/{first.token}/{name}"
    assert visits.file(first.token, name) == file
    assert visits.file(second.token, name) is None
    assert visits.file("", name) is None
    assert visits.file("é", name) is None
    for wrong in (
        "../../portraits",
        f"../{second.folder.name}",
        "/etc/passwd",
        "1",
        "nothing",
        "1/..",
        "1/\0",
        "1/" + "x" * 999,
    ):
        assert visits.file(first.token, wrong) is None


def test_sentences_name_no_folder_of_this_machine(visits):
    visit = visits.of("a")
    path = visit.new_folder() / "grey.png"
    assert visit.plain(f"image {str(path)!r}: no face was found.") == "image 'grey.png': no face was found."
    assert visit.plain(f"audio {visits.uploads}/0a1b/x.wav is empty") == "audio x.wav is empty"

"""What is said of a choice as soon as it is made, and forgotten with the next."""

import shutil

import pytest
from PIL import Image

from vasa.app import uploads
from vasa.app.config import AppRun
from vasa.app.making import Page
from vasa.app.pickers import Bundled
from vasa.app.studio import Studio
from vasa.app.visits import Visits
from vasa.inference.demo import demo_portrait


@pytest.fixture
def page(tmp_path):
    """A page whose checkpoint is missing: no face is searched."""
    visits = Visits(most=2, idle_s=100, root=tmp_path / "root")
    bundled = Bundled.draw(tmp_path / "portraits", 64)
    return Page(Studio(AppRun(checkpoint=tmp_path / "nowhere")), visits, bundled)


@pytest.fixture
def visit(page):
    return page.visits.of("a")


def wrong(visit, upload, limits):
    raise ValueError(f"{upload} is wrong.")


def right(visit, upload, limits):
    return None


def test_a_fault_is_kept_until_something_else_is_chosen_there(page, visit):
    assert page.check(visit, "speak-portrait", wrong, "a.png")
    assert page.check(visit, "speak-sound", wrong, "b.wav")
    assert visit.faults == {"speak-portrait": "a.png is wrong.", "speak-sound": "b.wav is wrong."}
    assert page.check(visit, "speak-portrait", right, "c.png")
    assert visit.faults == {"speak-sound": "b.wav is wrong."}


def test_what_a_browser_says_twice_is_looked_at_once(page, visit):
    assert page.check(visit, "speak-portrait", wrong, "a.png")
    assert not page.check(visit, "speak-portrait", right, "a.png")
    assert visit.faults == {"speak-portrait": "a.png is wrong."}


def test_a_choice_that_was_overtaken_says_nothing(page, visit):
    def overtaken(visit, upload, limits):
        assert page.check(visit, "speak-portrait", right, "b.png")
        wrong(visit, upload, limits)

    assert not page.check(visit, "speak-portrait", overtaken, "a.png")
    assert visit.faults == {}


def test_without_a_checkpoint_a_picture_is_only_read(page, visit, grey):
    upload = page.visits.uploads / "grey.png"
    upload.write_bytes(grey.read_bytes())
    assert page.check(visit, "speak-portrait", page.seen, str(upload))
    assert visit.faults == {}
    with pytest.raises(ValueError, match="There is no portrait"):
        page.seen(visit, None, page.studio.config.limits)
    assert page.check(visit, "speak-portrait", uploads.picture, str(visit.folder / "other.png"))
    assert visit.faults == {"speak-portrait": "That is no uploaded file; upload it on the page."}


def test_a_face_is_searched_in_what_a_visitor_brings_alone(app_config, tmp_path, grey, monkeypatch):
    visits = Visits(most=2, idle_s=100, root=tmp_path / "root")
    page = Page(Studio(app_config), visits, Bundled.draw(visits.uploads / "own", 64))
    visit, looked = visits.of("a"), []
    look = page.studio.look
    monkeypatch.setattr(page.studio, "look", lambda path: (looked.append(path.name), look(path)))
    face = visits.uploads / "face.png"
    Image.fromarray(demo_portrait(1, 160)[0]).save(face)
    uploaded = [page.bundled.paths[0], shutil.copy(grey, visits.uploads), face]
    faults = []
    for upload in uploaded:
        assert page.check(visit, "speak-portrait", page.seen, str(upload))
        faults.append(visit.faults.get("speak-portrait", ""))
    assert [fault[:42] for fault in faults] == ["", "image 'grey.png': no face was found in the", ""]
    assert looked == ["grey.png", "face.png"]

"""The page over HTTP, as a program sees it: each tab does what it says, errors are sentences."""

import io
import re
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from served_page import served

from vasa.app import making
from vasa.inference.demo import demo_portrait
from vasa.inference.provenance import file_hash
from vasa.video import VideoReader

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
handle_file = gradio_client.handle_file

DEFAULTS = (0, 0, 1, "auto", 1, 1, "", 0)
"""Of the controls, in the order of ``Wishes``."""


@pytest.fixture
def client(running):
    made = gradio_client.Client(running.url, verbose=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def portrait(tmp_path_factory) -> Path:
    """Somebody whose face has to be searched."""
    path = tmp_path_factory.mktemp("portrait") / "photo (1).png"
    Image.fromarray(demo_portrait(1, 160)[0]).save(path)
    return path


def sources(html: str, kind: str = "src") -> list[str]:
    return re.findall(rf'{kind}="(/visit/[^"]+)"', html)


def test_a_portrait_speaks_and_says_where_it_comes_from(running, client, portrait, sound, tmp_path):
    html = client.predict(
        handle_file(str(portrait)),
        handle_file(str(sound)),
        10,
        0,
        1,
        "happy",
        0.5,
        0.5,
        "0.7",
        3,
        api_name="/speak",
    )
    video, plot = sources(html)
    got = httpx.get(running.url + video)
    assert (got.status_code, got.headers["content-type"]) == (200, "video/mp4")
    (tmp_path / "made.mp4").write_bytes(got.content)
    frames = list(VideoReader(tmp_path / "made.mp4"))
    assert len(frames) == 13
    assert Image.open(io.BytesIO(httpx.get(running.url + plot).content)).size == (1080, 928)
    sidecar = httpx.get(running.url + sources(html, "href")[1]).json()
    assert sidecar["video"]["sha256"] == file_hash(tmp_path / "made.mp4")
    assert sidecar["inputs"]["image"] == {"name": "photo_1.png", "sha256": file_hash(portrait)}
    assert sidecar["request"]["options"] == {
        "emotion": "happy:0.5",
        "gaze_yaw": 10.0,
        "guidance.audio": 0.7,
        "head_motion": 0.5,
        "motion_csv": True,
        "seconds": 0.4,
        "seed": 3,
        "size": 64,
    }
    assert "AI-generated" not in html and "Synthetic video" in html
    assert str(running.root) not in html


def test_an_address_of_a_visit_is_nobody_elses(running, client, sound):
    html = client.predict(bundled(running), handle_file(str(sound)), *DEFAULTS, api_name="/speak")
    token, rest = re.match(r"/visit/([^/]+)/(.+)", sources(html)[0]).groups()
    for path in (
        f"/visit/{token[:-1]}x/{rest}",
        f"/visit/{token}/../{rest}",
        f"/visit/{token}/%2e%2e/%2e%2e/x",
    ):
        assert httpx.get(running.url + path).status_code == 404
    client.close()
    _until(lambda: httpx.get(running.url + sources(html)[0]).status_code == 404)


def bundled(running):
    return handle_file(str(running.root / "portraits" / "synthetic_1.png"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 0, 1, "auto", 1, 1, "much", 0), "guidance.audio is &#x27;much&#x27;; wanted a number"),
        ((0, 0, 1, "auto", 1, 1, "-1", 0), "guidance.audio is -1; wanted a number from 0 on"),
        ((None, 0, 1, "auto", 1, 1, "", 0), "gaze_yaw is empty; wanted a number."),
        ((50, 0, 1, "auto", 1, 1, "", 0), "gaze_yaw is 50 degrees"),
        ((0, 0, 3, "auto", 1, 1, "", 0), "distance is 3; wanted 0.7 to 1.4"),
        ((0, 0, 1, "happy", 2, 1, "", 0), "emotion happy has weight 2; wanted 0 to 1."),
    ],
)
def test_a_wrong_value_is_one_sentence(running, client, values, words):
    html = client.predict(bundled(running), None, *values, api_name="/speak")
    assert words in html
    assert "v-error" in html and "Traceback" not in html


def test_what_is_no_face_no_picture_no_sound_is_said(running, client, grey, sound, tmp_path):
    torn, long = tmp_path / "torn.wav", tmp_path / "long.wav"
    torn.write_bytes(sound.read_bytes()[:20])
    soundfile.write(long, np.zeros(16_000 * 5), 16_000)
    wide = tmp_path / "wide.png"
    Image.new("RGB", (2000, 1100)).save(wide)
    cases = [
        (grey, None, "image &#x27;grey.png&#x27;: no face was found"),
        (sound, None, "is not a picture that Pillow can open"),
        (wide, None, "wide.png has 2000x1100 pixels, 2 million; wanted at most 2 million"),
        (grey, torn, "torn.wav"),
        (grey, long, "long.wav is longer than 4 s"),
    ]
    for image, heard, words in cases:
        html = client.predict(
            handle_file(str(image)), heard and handle_file(str(heard)), *DEFAULTS, api_name="/speak"
        )
        assert words in html
        assert "v-error" in html and str(running.root) not in html
    assert "There is no portrait" in client.predict(None, None, *DEFAULTS, api_name="/speak")


def test_no_path_of_a_client_is_opened(running, tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    beside = f"{running.root}/uploads/../portraits/synthetic_1.png"
    for path in (str(secret), "/etc/passwd", beside, "configs/app.yaml", f"{running.url}/own/page.css"):
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, None, *DEFAULTS]
        began = httpx.post(f"{running.url}/gradio_api/call/speak", json={"data": data})
        said = httpx.get(f"{running.url}/gradio_api/call/speak/{began.json()['event_id']}", timeout=20).text
        assert said.startswith("event: error") and "That is no uploaded file" in said
    assert {path.name for path in (running.root / "uploads").rglob("*")}.isdisjoint({"secret.png", "passwd"})
    assert httpx.get(f"{running.url}/gradio_api/file={secret}").status_code == 403
    assert httpx.get(f"{running.url}/gradio_api/file=/etc/passwd").status_code == 403


def test_an_upload_that_is_too_large_is_refused(running):
    large = {"files": ("large.wav", bytes(3_000_000))}
    assert httpx.post(f"{running.url}/gradio_api/upload", files=large).status_code == 413


def test_only_this_machine_by_its_own_name_is_answered(running):
    assert httpx.get(running.url).status_code == 200
    assert httpx.get(running.url, headers={"host": "evil.example"}).status_code == 400


def test_one_renders_one_waits_and_nobody_twice(running, portrait, monkeypatch):
    long, stopped, watcher = portrait.with_name("long.wav"), threading.Event(), making.watcher
    soundfile.write(long, 0.3 * np.sin(np.arange(16_000 * 4) / 9), 16_000)

    def held(*given):
        told = watcher(*given)

        def tell(done, total):
            told(done, total)
            if done == 50:
                stopped.wait(60)  # so that a fast machine is still at it when it is stopped

        return tell

    monkeypatch.setattr(making, "watcher", held)
    clients = [gradio_client.Client(running.url, verbose=False) for _ in range(3)]
    ask = (handle_file(str(portrait)), handle_file(str(long)), *DEFAULTS)
    first = clients[0].submit(*ask, api_name="/speak")
    _until(lambda: any("of 100 frames" in html for html in first.outputs()))
    twice = clients[0].predict(*ask, api_name="/speak")
    assert "A video of yours is being made" in twice
    second = clients[1].submit(*ask, api_name="/speak")
    _until(lambda: any("you are number 1 in the queue" in html for html in second.outputs()))
    assert "Busy: one video is being made and 1 wait" in clients[2].predict(*ask, api_name="/speak")
    clients[0].predict(api_name="/stop")
    stopped.set()
    assert "Stopped; nothing was kept." in first.result()
    assert "<video" in second.result()
    assert re.search(r"frames/s, \d+ s left", "".join(first.outputs()))
    for client in clients:
        client.close()


def _until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_settings_are_shown_side_by_side(running, client, sound):
    html = client.predict(
        bundled(running), handle_file(str(sound)), *DEFAULTS, *(20, *DEFAULTS[1:]), api_name="/compare"
    )
    videos = [path for path in sources(html) if path.endswith(".mp4")]
    first, second = (httpx.get(running.url + path).content for path in videos)
    assert first != second
    assert "Setting A" in html and "Setting B" in html and "Play both" in html


def test_a_portrait_follows_a_video(running, client, portrait, sound, tmp_path):
    spoken = client.predict(handle_file(str(portrait)), handle_file(str(sound)), *DEFAULTS, api_name="/speak")
    driving = tmp_path / "driving.mp4"
    driving.write_bytes(httpx.get(running.url + sources(spoken)[0]).content)
    ask = (bundled(running), handle_file(str(driving)))
    html = client.predict(*ask, None, "relative", "all", 1, api_name="/reenact")
    sidecar = httpx.get(running.url + sources(html, "href")[1]).json()
    assert sidecar["inputs"]["driving"]["sha256"] == file_hash(driving)
    assert sidecar["sound"] is not None
    none = client.predict(bundled(running), None, None, "relative", "all", 1, api_name="/reenact")
    assert "There is no driving video" in none


def test_every_portrait_says_every_sound_and_comes_in_a_zip(running, client, portrait, grey, sound):
    ask = ([handle_file(str(portrait)), handle_file(str(grey))], [handle_file(str(sound))])
    html = client.predict(*ask, *DEFAULTS, api_name="/batch")
    assert re.search(r"01_photo_1_hum</td><td>13 frames in", html)
    assert re.search(r"02_grey_hum</td><td>image &#x27;grey.png&#x27;: no face was found", html)
    packed = zipfile.ZipFile(io.BytesIO(httpx.get(running.url + sources(html, "href")[0]).content))
    names = {"01_photo_1_hum.mp4", "01_photo_1_hum.provenance.json", "INTENDED_USE.md"}
    assert set(packed.namelist()) == names
    many = client.predict([handle_file(str(grey))] * 5, None, *DEFAULTS, api_name="/batch")
    assert "5 videos are asked for; wanted at most 4 at once." in many


def test_a_missing_checkpoint_is_said_and_nothing_is_left_at_the_end(app_config, tmp_path):
    from dataclasses import replace

    with served(replace(app_config, checkpoint=tmp_path / "nowhere")) as page:
        client = gradio_client.Client(page.url, verbose=False)
        html = client.predict(bundled(page), None, *DEFAULTS, api_name="/speak")
        assert "nowhere&#x27; has no bundle.json" in html
        client.close()
        assert page.root.is_dir()
    assert not page.root.exists()

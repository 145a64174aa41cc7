"""The page in a browser, as a person sees it: upload, generate, play, talk live, and every mistake.

Screenshots lie in the test's own folder.
"""

import re

import numpy as np
import pytest
import soundfile
from browser import Watched, browser
from PIL import Image
from served_page import served

from vasa.app.config import AppRun
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.records import AUDIO_HZ

PLAYED = """async (video) => { await video.play();
    for (let n = 0; n < 100 && video.currentTime <= 0.1; n++) await new Promise(r => setTimeout(r, 200));
    return [video.currentTime > 0.1, video.videoWidth, video.duration]; }"""
PIXELS = """(canvas) => Array.from(canvas.getContext('2d')
    .getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 97 == 0))"""


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture
def watched(running, chromium):
    made = Watched(chromium, running.url)
    yield made
    assert made.outside == [], "the page asks nobody but this machine"
    assert made.complaints == []
    made.page.close()


@pytest.fixture
def face_file(tmp_path):
    path = tmp_path / "somebody.png"
    Image.fromarray(demo_portrait(1, 160)[0]).save(path)
    return path


def test_a_portrait_and_a_sound_are_uploaded_and_a_video_is_played(watched, face_file, sound, tmp_path):
    page = watched.page
    watched.upload("#speak-portrait", face_file)
    watched.upload("#speak-sound", sound)
    for name, value in (
        ("gaze_yaw", 12),
        ("gaze_pitch", -5),
        ("distance", 1.1),
        ("head_motion", 0.5),
        ("seed", 3),
    ):
        watched.set(f"#speak-{name}", value)
    watched.choose("#speak-emotion", "happy")
    watched.set("#speak-strength", 0.5)
    page.locator("#speak-guidance textarea, #speak-guidance input").first.fill("0.7")
    page.click("#speak-go")
    video = page.wait_for_selector("#speak-result video")
    assert video.evaluate(PLAYED) == [True, 64, pytest.approx(0.52, abs=0.03)]
    page.click("#speak-result summary")
    said = page.inner_text("#speak-result .v-provenance")
    for words in ("gaze_yaw=12", "gaze_pitch=-5", "distance=1.1", "emotion=happy:0.5", "guidance.audio=0.7"):
        assert words in said
    with page.expect_download() as download:
        page.click("text=Download provenance")
    assert download.value.suggested_filename == "somebody.provenance.json"
    page.screenshot(path=tmp_path / "speak.png", full_page=True)


def test_every_mistake_is_one_sentence_on_the_page(watched, face_file, grey, sound, tmp_path):
    page, long = watched.page, tmp_path / "long.wav"
    soundfile.write(long, np.zeros(5 * 16_000), 16_000)
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    watched.upload("#speak-portrait", torn)
    watched.said("#speak-result", "torn.png")
    watched.upload("#speak-sound", long)
    watched.said("#speak-result", "long.wav is longer than 4 s")
    watched.upload("#speak-sound", sound)
    watched.said("#speak-result", "torn.png")  # is still chosen
    watched.upload("#speak-portrait", grey)
    watched.said("#speak-result", "image 'grey.png': no face was found")
    page.screenshot(path=tmp_path / "no_face.png")
    page.locator("#speak-bundled button img").nth(1).click()
    watched.said("#speak-result", "then press Make it speak")
    page.locator("#speak-guidance textarea, #speak-guidance input").first.fill("much")
    page.click("#speak-go")
    watched.said("#speak-result", "guidance.audio is 'much'")
    watched.upload("#speak-portrait", face_file)
    watched.said("#speak-result", "then press Make it speak")
    watched.tab("Reenact")
    page.click("#reenact-go")
    watched.said("#reenact-result", "There is no driving video")
    page.screenshot(path=tmp_path / "error.png")
    assert "Traceback" not in page.content()


def test_a_portrait_of_the_page_is_chosen_compared_and_listed(watched, tmp_path):
    page = watched.page
    watched.tab("Compare")
    page.locator("#compare-bundled button img").nth(1).click()
    page.wait_for_selector("#compare-portrait img[src*=synthetic_2]")
    watched.set("#compare-B-gaze_yaw", 20)
    page.click("#compare-go")
    page.wait_for_selector("#compare-result video >> nth=1")
    page.click("text=Play both")
    assert page.inner_text("#compare-result").count("frames, 0.4 s, 64x64") == 2
    page.screenshot(path=tmp_path / "compare.png", full_page=True)
    watched.tab("Batch")
    page.click("#batch-go")
    page.wait_for_selector("#batch-result a[download='videos.zip']")
    assert page.inner_text("#batch-result").count("10 frames in") == 4
    page.screenshot(path=tmp_path / "batch.png")


def test_a_missing_checkpoint_is_said_at_once(app_config, chromium, tmp_path):
    from dataclasses import replace

    with served(replace(app_config, checkpoint=tmp_path / "nowhere")) as page:
        watched = Watched(chromium, page.url)
        watched.said("#state .v-error", "has no bundle.json")
        watched.page.screenshot(path=tmp_path / "missing.png")
        watched.page.close()


def live(watched, seconds, tmp_path, sound):
    """Talks live for a while: a sample, a file, the microphone, every control, stop speaking, the end."""
    page = watched.page
    watched.tab("Live")
    page.click("#live-start")
    watched.said("#live-state", "live")
    page.wait_for_function("document.querySelector('[data-number=fps]').textContent != '-'")
    idle = page.locator("#live-canvas").evaluate(PIXELS)
    page.click("#live-say")
    for name, value in (
        ("gaze_yaw", 20),
        ("gaze_pitch", 5),
        ("distance", 1.2),
        ("head_motion", 2),
        ("head_yaw", 15),
    ):
        watched.slide(name, value)
    page.select_option("[data-control=emotion]", "happy")
    page.wait_for_function(
        f"(idle) => String(({PIXELS})(document.getElementById('live-canvas'))) !== String(idle)", arg=idle
    )
    page.uncheck("#live-hear")
    page.set_input_files("#live-file", sound)
    page.wait_for_function("document.getElementById('live-hear').checked")  # the file has been read and plays
    page.click("#live-mic")
    watched.said("#live-mic", "Microphone off")
    page.wait_for_timeout(1000 * seconds)
    page.screenshot(path=tmp_path / "live.png")
    shown = page.inner_text("#live-numbers")
    assert page.is_hidden("#live-error")
    page.click("#live-interrupt")
    page.wait_for_function("document.getElementById('live-mic').textContent === 'Microphone'")
    page.click("#live-stop")
    watched.said("#live-state", "ended")
    return shown


def test_it_talks_live_for_a_few_seconds(watched, sound, tmp_path):
    shown = live(watched, 3, tmp_path, sound)
    assert re.search(r"dropped\s+\d+ of \d+ frames", shown)
    assert re.search(r"delay, sound to face\s+about \d+ ms", shown)


def test_live_mistakes_are_said(watched, grey):
    page = watched.page
    watched.tab("Live")
    watched.upload("#live-portrait", grey)
    watched.said("#live-upload", "no face was found")
    page.click("#live-start")
    watched.said("#live-error", "no face was found")
    page.locator("#live-bundled button img").nth(0).click()
    watched.silent("#live-upload")
    page.click("#live-start")
    watched.said("#live-state", "live")
    page.set_input_files("#live-file", grey)
    watched.said("#live-error", "is no sound that the browser can read")


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_bundled_checkpoint_talks_live_for_20_seconds(chromium, tmp_path):
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, demo_speech(1, 5.0), AUDIO_HZ)
    with served(AppRun(size=128)) as page:
        watched = Watched(chromium, page.url)
        shown = live(watched, 20, tmp_path, speech)
        watched.page.close()
    assert int(re.search(r"of (\d+) frames", shown)[1]) > 20 * 25

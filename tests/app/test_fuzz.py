"""A hundred uploads that nobody should send: each is answered in a sentence, and the page goes on."""

import random
import string

import numpy as np
import pytest
import soundfile
from PIL import Image

from vasa.inference.demo import demo_portrait

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed")
handle_file = gradio_client.handle_file

NAMES = [
    "a b.png",
    "x;rm.jpg",
    "фото.webp",
    "..png",
    "-o.wav",
    "n" * 120 + ".gif",
    "noname",
    "a.svg",
    "b.mp4",
    "$(x).wav",
]


def torn(data: bytes, draw: random.Random) -> bytes:
    """A file with a piece cut off, bytes exchanged, or noise in its place."""
    kind = draw.randrange(4)
    if kind == 0:
        return data[: draw.randrange(len(data))]
    if kind == 1:
        hurt = bytearray(data)
        for _ in range(draw.randrange(1, 200)):
            hurt[draw.randrange(len(hurt))] = draw.randrange(256)
        return bytes(hurt)
    if kind == 2:
        return draw.randbytes(draw.randrange(1, 5000))
    return data


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_hundred_fuzzed_uploads_never_take_the_page_down(running, tmp_path):
    draw = random.Random(0)
    picture, sound = tmp_path / "ok.png", tmp_path / "ok.wav"
    Image.fromarray(demo_portrait(1, 96)[0]).save(picture)
    soundfile.write(sound, 0.2 * np.sin(np.arange(4000) / 9).astype(np.float32), 16_000)
    client = gradio_client.Client(running.url, verbose=False)
    answered = {"v-error": 0, "<video": 0}
    for number in range(100):
        files = []
        for good in (picture, sound):
            folder = tmp_path / f"{number}_{good.suffix[1:]}"
            folder.mkdir()
            path = folder / draw.choice(
                [*NAMES, "".join(draw.choices(string.ascii_letters, k=9)) + good.suffix]
            )
            path.write_bytes(torn(draw.choice([picture, sound]).read_bytes(), draw))
            files.append(handle_file(str(path)))
        values = [draw.choice([0, 1, -1, 50, 1e9, "x", None, True]) for _ in range(6)]
        values[3] = draw.choice(["auto", "happy", "none"])
        try:
            html = client.predict(
                *files,
                *values,
                draw.choice(["", "1", "nan", "-"]),
                draw.choice([0, -1, 2**70]),
                api_name="/speak",
            )
        except (gradio_client.exceptions.AppError, ValueError) as error:  # gradio's own word on a value
            assert "Traceback" not in str(error)
            continue
        assert ("v-error" in html) != ("<video" in html)
        assert "Traceback" not in html and str(running.root) not in html
        answered["v-error" if "v-error" in html else "<video"] += 1
    assert answered["v-error"] > 30
    html = client.predict(
        handle_file(str(picture)), handle_file(str(sound)), 0, 0, 1, "auto", 1, 1, "", 0, api_name="/speak"
    )
    assert "<video" in html
    client.close()

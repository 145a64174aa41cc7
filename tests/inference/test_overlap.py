"""Frames beside motion: the same in threads and without, errors where they belong, nothing left running; and
what a GPU would record and send, rehearsed on a CPU.
"""

import gc
import threading

import numpy as np
import pytest
import torch

from vasa.inference.demo import demo_portrait
from vasa.inference.overlap import ahead
from vasa.inference.pipeline import TalkingFace
from vasa.inference.rendering import IN_FLIGHT, FrameMaker, Landing
from vasa.inference.speed import Speed
from vasa.records import AUDIO_HZ

PLAIN = Speed(precision="fp32", overlap=False, graphs=False)


class Recorded:
    """As rendering.Replay: given and result lie where they lay before. calls: shapes that were recorded."""

    calls: list[torch.Size] = []  # noqa: RUF012

    def __init__(self, call, given):
        self.calls.append(given.shape)
        self.call, self.given, self.result = call, given.clone(), call(given)

    def __call__(self, given):
        self.given.copy_(given)
        self.result.copy_(self.call(self.given))
        return self.result


@pytest.fixture
def portrait(talking_face, picture):
    return talking_face.prepare(picture, 40)


def motion(talking_face, count):
    made = torch.zeros(count, talking_face.face.layout.width)
    made[:, :2] = torch.rand(count, 2, generator=torch.Generator().manual_seed(1))
    return made


def test_order_and_end_are_kept_and_few_items_wait():
    made = []

    def count():
        for number in range(20):
            made.append(number)
            yield number

    items = ahead(count(), 3)
    assert made == [], "nothing is made before somebody asks"
    assert next(items) == 0
    assert list(items) == list(range(1, 20))
    assert not any("ahead" in thread.name for thread in threading.enumerate())


def test_who_stops_taking_stops_the_making():
    closed = threading.Event()

    def endless():
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed.set()

    items = ahead(endless(), 2)
    assert next(items) == 1
    items.close()
    assert closed.is_set()
    assert not any("ahead" in thread.name for thread in threading.enumerate())


def test_an_error_of_the_outer_thread_ends_the_inner_one_without_gc():
    def endless():
        while True:
            yield torch.zeros(2, 6)

    def breaks(items):
        try:
            for number, _ in enumerate(items):
                if number == 2:
                    raise OSError("no room")
                yield number
        finally:
            items.close()

    gc.disable()
    try:
        with pytest.raises(OSError, match="no room"):
            list(ahead(breaks(ahead(endless(), 1, "ahead inside")), 1))
    finally:
        gc.enable()
    assert not any("ahead" in thread.name for thread in threading.enumerate())


def test_frames_that_cannot_be_made_or_written_leave_no_thread(talking_face, portrait, monkeypatch):
    def broken(appearance, motion):
        raise RuntimeError("out of memory")

    long = iter(motion(talking_face, 400).split(4))
    generation = talking_face.perform(portrait, long, 400, batch_frames=4)
    next(iter(generation))  # a disk is full: nobody takes the rest
    generation.close()
    monkeypatch.setattr(talking_face.face, "render", broken, raising=False)
    generation = talking_face.perform(portrait, iter(motion(talking_face, 400).split(4)), 400, batch_frames=4)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(generation)
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith(("motion", "frames")) for name in names)


def test_an_error_comes_after_what_was_made_before_it():
    def breaks():
        yield 1
        raise FloatingPointError("not finite")

    items = ahead(breaks(), 4)
    assert next(items) == 1
    with pytest.raises(FloatingPointError, match="not finite"):
        next(items)


def test_threads_change_no_frame(talking_face, picture):
    sound = np.sin(np.arange(AUDIO_HZ * 2) / 30).astype(np.float32)
    found = []
    for overlap in (False, True):
        talking_face.speed = Speed(precision="fp32", overlap=overlap)
        generation = talking_face.generate(picture, sound, AUDIO_HZ, size=40)
        found.append(np.stack(list(generation)))
        assert generation.timings["render_s"] > 0 and generation.timings["motion_s"] > 0
    assert np.array_equal(*found) and len(found[0]) == 50


def test_what_is_wrong_with_motion_is_said_through_both_threads(talking_face, portrait):
    bad = motion(talking_face, 8)
    bad[5] = float("nan")
    generation = talking_face.perform(portrait, iter([bad[:4], bad[4:]]), 8, batch_frames=4)
    with pytest.raises(FloatingPointError):
        list(generation)


@pytest.mark.parametrize("batches", [(4, 4, 4), (5, 5, 2, 5)])
def test_what_is_recorded_once_is_replayed(talking_face, portrait, batches):
    plain = FrameMaker(talking_face.face, portrait, talking_face.device, PLAIN)
    speed = Speed(precision="fp32", graphs=True)
    replaying = FrameMaker(talking_face.face, portrait, talking_face.device, speed, Recorded)
    Recorded.calls.clear()
    given = motion(talking_face, sum(batches)).split(batches)
    kept = [replaying(batch) for batch in given]  # all are under way before the first is taken
    for batch, pending in zip(given, kept, strict=True):
        assert np.array_equal(pending.frames(), plain(batch).frames())
    assert [len(shape) and shape[0] for shape in Recorded.calls] == list(dict.fromkeys(batches))


def test_a_picture_on_its_way_is_not_written_over_and_buffers_do_not_pile_up():
    landing = Landing(pinned=False)
    places = [landing(shape).data_ptr() for _ in range(20) for shape in ((2, 4, 4, 3), (1, 4, 4, 3))]
    for shape in (0, 1):
        own = places[shape::2]
        assert len(set(own)) == IN_FLIGHT + 1
        assert all(len(set(own[at : at + IN_FLIGHT + 1])) == IN_FLIGHT + 1 for at in range(17))


def test_nothing_is_recorded_where_frames_need_the_host(talking_face, portrait, monkeypatch):
    Recorded.calls.clear()
    for replayable, backdrop, graphs in (
        (False, None, True),
        (True, "a backdrop", True),
        (True, None, False),
    ):
        monkeypatch.setattr(
            talking_face.face, "replayable", lambda _, answer=replayable: answer, raising=False
        )
        portrait.backdrop = backdrop
        FrameMaker(talking_face.face, portrait, talking_face.device, Speed(graphs=graphs), Recorded)
        maker = FrameMaker(talking_face.face, portrait, talking_face.device, Speed(graphs=graphs), Recorded)
        portrait.backdrop = None
        maker(motion(talking_face, 2))
    assert Recorded.calls == []


def test_a_speed_that_is_none_is_refused():
    for options, words in (
        ({"precision": "fp8"}, "precision is 'fp8'; wanted one of auto, fp32, bf16"),
        ({"layout": "nhwc"}, "layout is 'nhwc'; wanted one of auto, nchw, channels_last"),
        ({"layout": "nchw", "compile": True}, "compile=true compiles the decoder"),
    ):
        with pytest.raises(ValueError, match=words):
            Speed(**options)


@pytest.mark.gpu
@torch.inference_mode()
def test_a_gpu_makes_the_frames_of_a_cpu_with_graphs_and_without():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    picture, known = demo_portrait(0, 256)
    found = {}
    for device, graphs in (("cpu", False), ("cuda", False), ("cuda", True)):
        speed = Speed(precision="fp32", graphs=graphs)
        face = TalkingFace.from_pretrained("checkpoints/demo", device, speed=speed)
        portrait = face.prepare(picture, 256, known=known)
        maker = FrameMaker(face.face, portrait, face.device, speed)
        turn = 0.2 * torch.arange(8, device=face.device)[:, None] / 8
        motion = portrait.motion + turn * torch.ones_like(portrait.motion)
        pending = [maker(motion[:4]), maker(motion[4:]), maker(motion[:4])]
        found[device, graphs] = np.concatenate([one.frames() for one in pending]).astype(int)
    wanted = found.pop(("cpu", False))
    for frames in found.values():
        assert np.abs(frames - wanted).mean() < 0.2 and np.abs(frames - wanted).max() < 40
    assert np.array_equal(found["cuda", True][:4], found["cuda", True][8:]), (
        "the first buffer was not overwritten"
    )

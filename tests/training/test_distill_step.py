"""A student of few steps: what it is asked to say leads it along its teacher's states, and it learns to."""

from pathlib import Path

import pytest
import torch
from motion_caches import make_cache, tiny_run
from torch import Tensor

from vasa.data.latent_cache import CacheError
from vasa.data.motion_windows import MotionWindows
from vasa.motion.config import MotionConfig, SamplerConfig
from vasa.motion.diffusion import MotionDiffusion, sample, sampling_scheduler
from vasa.motion.windows import MotionGenerator
from vasa.records import Conditions
from vasa.training.distill_step import DistillStep, student_config
from vasa.training.motion_step import window_conditions
from vasa.training.train_motion import train_motion


def small_step(folder: Path, teacher_steps: int = 6, **sampler) -> DistillStep:
    cache = make_cache(folder)
    own: MotionConfig = tiny_run(folder).motion
    torch.manual_seed(0)
    teacher = MotionDiffusion(own, cache.header.layout, cache.header.audio_dim).eval()
    torch.nn.init.normal_(teacher.transformer.motion_out.weight, std=0.2)
    student = student_config(MotionConfig(transformer=own.transformer, sampler=SamplerConfig(steps=2)), own)
    model = MotionDiffusion(student, cache.header.layout, cache.header.audio_dim)
    windows = MotionWindows(
        cache,
        window_frames=own.window_frames,
        history_frames=own.history_frames,
        batch_size=4,
        seed=0,
    )
    return DistillStep(model, teacher, teacher_steps, windows, 0)


def test_the_targets_lead_through_the_teachers_states_to_its_motion(tmp_path: Path) -> None:
    step = small_step(tmp_path)
    batch = step.batch_at(0)
    conditions = window_conditions(batch.windows, step.model.normalizer)
    states = step._trajectory(batch.noise, conditions, batch.windows.valid)
    own = step.teacher.config.sampler
    made = step.teacher.sample(
        batch.noise, conditions, steps=6, guidance=own.guidance.as_dict(), sampler=own.name
    )
    torch.testing.assert_close(states[-1], made, rtol=1e-4, atol=1e-4)  # float32 near alpha_bar = 0
    said = iter([step._target(level, states[level], states[level + 1]) for level in range(2)])

    def perfect(x_t: Tensor, t: Tensor) -> Tensor:
        return next(said)

    scheduler = sampling_scheduler("ddim", step.model.config.schedule)
    torch.testing.assert_close(sample(perfect, batch.noise, scheduler, 2), made, rtol=1e-3, atol=1e-3)


def test_steps_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="teacher_steps=5 with a student of 2"):
        small_step(tmp_path, teacher_steps=5)


def test_a_student_follows_its_teacher_in_fewer_evaluations(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        make_cache(tmp_path / split)
    taught = [
        "motion.sampler.guidance.audio=1.5",
        "loop.steps=100",
        "loop.batch_size=16",
        "optimizer.learning_rate=3e-3",
    ]
    taught += ["loop.validate_every=0", "loop.preview_every=0", "loop.ema_decay=0.9"]
    teacher = train_motion(tiny_run(tmp_path, *taught, f"run_dir={tmp_path}/teacher"))
    distil = [
        "experiment=motion_distill",
        f"teacher={teacher}",
        f"init={teacher}",
        f"run_dir={tmp_path}/fast",
    ]
    distil += ["motion=tiny", "motion.sampler.steps=2", "teacher_steps=6", "loop.ema_decay=0.9"]
    distil += ["loop.validate_every=0", "loop.preview_every=0"]
    few = train_motion(tiny_run(tmp_path, *distil, "loop.steps=150", "loop.batch_size=16"))
    master, student = (MotionGenerator.from_pretrained(path) for path in (teacher, few))
    assert student.config.sampler.baked and student.config.sampler.guidance == master.config.sampler.guidance

    cache = make_cache(tmp_path / "other")
    evaluations: list[int] = []
    student.model.transformer.register_forward_pre_hook(lambda _, args: evaluations.append(len(args[0])))

    wanted_of = {name: cache.control(0, name)[None] for name in ("gaze", "distance", "emotion")}

    def drawn(generator: MotionGenerator, **options) -> Tensor:
        source = generator.generate(
            cache.features(0),
            Conditions(**wanted_of),
            generator=torch.Generator().manual_seed(1),
            num_frames=10,
            **options,
        )
        return generator.model.normalizer.normalise(torch.cat(list(source)))

    wanted, got = drawn(master, steps=6), drawn(student)
    assert evaluations == [1, 1]
    naive = drawn(master, steps=2, sampler="ddim", guidance={})
    assert float((got - wanted).square().mean()) < 0.5 * float((naive - wanted).square().mean())
    with pytest.raises(ValueError, match="learned to make in 2 steps"):
        drawn(student, steps=4)


def test_a_teacher_of_another_face_is_refused(tmp_path: Path) -> None:
    make_cache(tmp_path / "train")
    quiet = ["validation_cache=null", "loop.steps=2", "loop.validate_every=0", "loop.preview_every=0"]
    teacher = train_motion(tiny_run(tmp_path, *quiet, f"run_dir={tmp_path}/teacher"))
    make_cache(tmp_path / "elsewhere", face_hash="e" * 64)
    with pytest.raises(CacheError, match="teacher"):
        train_motion(tiny_run(tmp_path, *quiet, f"teacher={teacher}", f"cache={tmp_path}/elsewhere"))

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toy_run import (
    BATCH,
    OPTIMIZER,
    PlainToy,
    Toy,
    assert_bitwise,
    batch_at,
    entries,
    final_state,
    loop_config,
    metric_steps,
)

from vasa.checkpoint import CheckpointError, load_weights
from vasa.training import optim, runtime
from vasa.training.config import Canary, LoopConfig, OptimizerConfig
from vasa.training.fetch import fetch
from vasa.training.loop import Phase, Stopped, train
from vasa.training.progress import Clock

# Resuming ---------------------------------------------------------------------------------------------------


def test_resume_equals_uninterrupted(tmp_path: Path) -> None:
    assert Toy().train(tmp_path / "whole") == 12

    def break_at_8(step: int) -> dict[str, Any]:
        if step == 8:
            raise OSError("the disk is gone")
        return batch_at(step)

    with pytest.raises(OSError, match="the disk is gone"):
        Toy().train(tmp_path / "parts", batch_at=break_at_8)
    assert Toy(seed=99).train(tmp_path / "parts") == 7  # other initial weights: they must not matter
    assert_bitwise(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))
    assert metric_steps(tmp_path / "parts") == metric_steps(tmp_path / "whole") == [4, 8, 12]
    assert Toy().train(tmp_path / "parts") == 0


def test_damaged_state_falls_back_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Toy().train(tmp_path / "run")
    expected = final_state(tmp_path / "run")
    last = tmp_path / "run" / "state_00000012.safetensors"
    last.write_bytes(last.read_bytes()[:-10])
    assert Toy().train(tmp_path / "run") == 2
    assert "state_00000012.safetensors is not a checkpoint or is damaged" in caplog.text
    assert_bitwise(expected, final_state(tmp_path / "run"))
    for state in (tmp_path / "run").glob("state_*"):
        state.write_bytes(b"")
    with pytest.raises(CheckpointError, match="None of the 2 training states .* remove them to start over"):
        Toy().train(tmp_path / "run")


def test_a_changed_config_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Toy().train(tmp_path, config={"loop": {"steps": 12}, "x": 1})
    Toy().train(tmp_path, loop_config(steps=14), config={"loop": {"steps": 14}, "x": 1})
    assert "loop.steps was 12, is 14" in caplog.text
    assert "x was" not in caplog.text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_and_saves(tmp_path: Path, number: int, code: int) -> None:
    class Signalled(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if step == 6:
                os.kill(os.getpid(), number)
            return super().maker_loss(batch, step)

    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="at step 7; its state is saved") as stopped:
        Signalled().train(tmp_path / "parts")
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before
    assert Toy().train(tmp_path / "parts") == 5
    Toy().train(tmp_path / "whole")
    assert_bitwise(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))


# Steps ------------------------------------------------------------------------------------------------------


def test_neither_adversary_teaches_the_other(tmp_path: Path) -> None:
    toy = Toy()
    seen: dict[str, bool] = {}

    def watch(name: str, other: nn.Module) -> None:
        loss = getattr(toy, f"{name}_loss")

        def watched(batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            seen[name] = any(p.requires_grad for p in other.parameters())
            return loss(batch, step)

        setattr(toy, f"{name}_loss", watched)

    watch("maker", toy.critic)
    watch("critic", toy.maker)
    toy.train(tmp_path, loop_config(steps=1))
    assert seen == {"maker": False, "critic": False}


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    toy = Toy()
    toy.maker[0].requires_grad_(False)
    before = toy.maker[0].weight.clone()
    toy.train(tmp_path, loop_config(steps=2))
    assert torch.equal(toy.maker[0].weight, before)
    assert not toy.maker[0].weight.requires_grad


def test_accumulated_parts_equal_one_batch(tmp_path: Path) -> None:
    def run(name: str, accumulate: int) -> dict[str, torch.Tensor]:
        toy = Toy()
        toy.maker = nn.Sequential(
            nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4)
        )  # no dropout, no batch statistics
        for seed, parameter in enumerate(toy.maker.parameters()):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))

        def mean_loss(batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            assert len(batch["ids"]) == len(batch["x"]) == BATCH // accumulate
            return {"total": (toy.maker(batch["x"]) - batch["x"]).square().mean()}

        cfg = loop_config(steps=6, accumulate=accumulate)
        phase = Phase("maker", toy.maker, mean_loss, OPTIMIZER)
        train(cfg, [phase], batch_at, tmp_path / name, ema={}, export=lambda step, averages: None)
        return final_state(tmp_path / name)

    whole, parts = run("whole", 1), run("parts", 4)
    for name, tensor in whole.items():
        # fp32 sums in another order; Adam divides by the gradient's size, so errors stay relative
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"loop\.batch_size=8 cannot be divided .* choose a multiple of 3"):
        run("odd", 3)


def test_every_phase_visits_the_same_parts_in_the_same_order(tmp_path: Path) -> None:
    toy = PlainToy()
    seen: dict[str, list[str]] = {"maker": [], "critic": []}

    def watch(name: str) -> None:
        loss = getattr(toy, f"{name}_loss")

        def watched(batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            seen[name] += batch["ids"]
            return loss(batch, step)

        setattr(toy, f"{name}_loss", watched)

    watch("maker")
    watch("critic")
    toy.train(tmp_path, loop_config(steps=2, accumulate=4))
    assert seen["maker"] == seen["critic"] == [f"clip{number}" for number in range(2 * BATCH)]


def test_losses_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    class Broken(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            losses = super().maker_loss(batch, step)
            return {**losses, "total": losses["total"] / (0.0 if step == 7 else 1.0)}

    message = (
        r"at step 7: maker/total=.*inf, maker/gradient_norm=nan on the batch of clip56, clip57.*clip63; "
    )
    message += r"beside maker/error=0\.\d+; the last saved state is sound"
    with pytest.raises(FloatingPointError, match=message):
        Broken().train(tmp_path)
    assert [p.name for p in tmp_path.glob("state_*")] == ["state_00000005.safetensors"]
    assert load_weights(tmp_path / "toy.safetensors").meta["step"] == 5


@pytest.mark.parametrize("size", [3e6, -3e6])
def test_a_total_that_explodes_stops_the_run_and_a_large_gradient_does_not(
    tmp_path: Path, size: float
) -> None:
    class Exploding(Toy):
        def critic_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            total = super().critic_loss(batch, step)["total"]
            if step == 2:  # the gradient of a small number
                total = total * 1e7 - (total * 1e7).detach()
            return {"total": total + (size if step == 6 else 0.0), "told": total + 1e7}

    with pytest.raises(FloatingPointError, match=rf"at step 6: critic/total={size:.2g}".replace("+", r"\+")):
        Exploding().train(tmp_path / "stopped")
    assert [p.name for p in (tmp_path / "stopped").glob("state_*")] == ["state_00000005.safetensors"]
    assert Exploding().train(tmp_path / "not", loop_config(explosion=0)) == 12


def test_exported_average_is_the_closed_form(tmp_path: Path) -> None:
    weights = []

    class Watched(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            weights.append(self.maker[0].weight.detach().clone())
            return super().maker_loss(batch, step)

    toy = Watched()
    toy.train(tmp_path, loop_config(steps=4, ema_decay=0.2))
    weights.append(toy.maker[0].weight.detach())
    average = weights[0]
    for step in range(4):
        decay = min(0.2, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights[step + 1]
    exported = load_weights(tmp_path / "toy.safetensors").tensors
    torch.testing.assert_close(exported["0.weight"], average, rtol=1e-5, atol=1e-7)  # fp32 in another order
    assert torch.equal(exported["1.running_mean"], toy.maker[1].running_mean)


def test_learning_rate_warms_up_and_falls_to_its_final_fraction() -> None:
    config = OptimizerConfig(learning_rate=2.0, warmup_steps=4, final_fraction=0.1)
    rates = [optim.learning_rate(config, step, 104) for step in range(104)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert all(a >= b for a, b in zip(rates[4:], rates[5:], strict=False))
    assert rates[-1] == pytest.approx(0.2)
    assert optim.learning_rate(dataclasses.replace(config, warmup_steps=0), 0, 10) == 2.0


def test_decay_spares_biases() -> None:
    adam = optim.build_optimizer(list(nn.Linear(2, 2).parameters()), OptimizerConfig(weight_decay=0.3))
    decays = {
        parameter.ndim: group["weight_decay"] for group in adam.param_groups for parameter in group["params"]
    }
    assert decays == {2: 0.3, 1: 0.0}


def test_bf16_is_autocast_and_weights_stay_fp32(tmp_path: Path) -> None:
    seen = []

    class Watched(Toy):
        def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            seen.append((self.maker[0](batch["x"]).dtype, self.maker[0].weight.dtype))
            return super().maker_loss(batch, step)

    Watched().train(tmp_path, loop_config(steps=1, precision="bf16"))
    assert seen == [(torch.bfloat16, torch.float32)]


# Around the steps -------------------------------------------------------------------------------------------


def test_batches_come_in_order_and_not_too_far_ahead() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def slow(step: int) -> int:
        with lock:
            started.append(step)
        return step

    seen = []
    for step in fetch(slow, range(3, 13), 2):
        time.sleep(0.005)
        with lock:
            assert max(started) <= step + 2
        seen.append(step)
    assert seen == started == list(range(3, 13))
    assert list(fetch(slow, range(3), 0)) == [0, 1, 2]
    assert list(fetch(slow, range(2), 5)) == [0, 1]


def test_an_error_in_a_batch_surfaces_at_its_step() -> None:
    def broken(step: int) -> int:
        if step == 2:
            raise ValueError("clip 2 is empty")
        return step

    batches = fetch(broken, range(9), 4)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="clip 2 is empty"):
        next(batches)


def test_workers_prepare_batches_side_by_side_and_in_order() -> None:
    def slow(step: int) -> int:
        time.sleep(0.02 if step % 2 else 0.025)  # so that later ones are ready earlier
        return step

    def seconds(workers: int) -> float:
        begun = time.monotonic()
        assert list(fetch(slow, range(24), 1, workers)) == list(range(24))
        return time.monotonic() - begun

    alone = seconds(1)
    assert alone >= 24 * 0.02
    assert seconds(2) < 0.75 * alone  # half, and room for a busy machine


def test_the_log_tells_of_waiting_memory_and_learning_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def slow_batch_at(step: int) -> dict[str, Any]:
        time.sleep(0.05)
        return batch_at(step)

    caplog.set_level("INFO", "vasa")
    Toy().train(tmp_path / "slow", loop_config(prefetch=0), batch_at=slow_batch_at)
    Toy().train(tmp_path / "fast")
    slow, fast = (entries(tmp_path / name)[-1] for name in ("slow", "fast"))
    assert 1 >= slow["data_wait"] > 0.5
    assert fast["data_wait"] < slow["data_wait"]
    assert slow["samples_per_s"] < BATCH / 0.05 < fast["samples_per_s"] * 10
    assert 0.05 < slow["memory_gib"] < 64  # of a process that has imported torch
    expected = optim.learning_rate(OPTIMIZER, 11, 12)
    assert slow["maker/learning_rate"] == slow["critic/learning_rate"] == pytest.approx(expected)
    assert f"{100 * slow['data_wait']:.0f}% waiting for data" in caplog.text


def test_the_rate_counts_training_alone(tmp_path: Path) -> None:
    """Also when what interrupts it is due between two entries."""

    def validate(step: int, averages: Any) -> dict[str, float]:
        time.sleep(1.0)
        return {"psnr_db": 20.0}

    def slow_batch_at(step: int) -> dict[str, Any]:
        time.sleep(0.02)
        return batch_at(step)

    cfg = loop_config(validate_every=6, prefetch=0)
    Toy().train(tmp_path, cfg, batch_at=slow_batch_at, validate=validate)
    rates = [entry["samples_per_s"] for entry in entries(tmp_path) if "samples_per_s" in entry]
    assert all(BATCH / 0.25 < rate < BATCH / 0.02 for rate in rates), rates


def test_the_clock_starts_afresh_with_every_lap() -> None:
    clock = Clock()
    with clock.waiting():
        time.sleep(0.05)
    with clock.paused():
        time.sleep(0.2)
    seconds, share = clock.lap()
    assert 0.05 <= seconds < 0.2
    assert share > 0.5
    assert clock.lap()[1] == 0.0


def test_validation_preview_and_metrics_are_written(tmp_path: Path) -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    eval_modes = []

    def preview(step: int, averages: Any) -> np.ndarray:
        eval_modes.append(averages["maker"].training or torch.is_grad_enabled())
        return picture

    cfg = loop_config(logger="tensorboard", preview_every=6, validate_every=12)
    Toy().train(tmp_path, cfg, preview=preview, validate=lambda step, averages: {"psnr_db": 20.0 + step})
    assert eval_modes == [False, False]
    told = entries(tmp_path)
    assert [(e["step"], e["samples"]) for e in told] == [(4, 32), (8, 64), (12, 96), (12, 96)]
    assert told[-1]["validation/psnr_db"] == 32.0
    assert {"maker/total", "maker/error", "critic/total", "critic/gradient_norm"} < told[0].keys()
    assert sorted(p.name for p in (tmp_path / "previews").iterdir()) == ["00000006.png", "00000012.png"]
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.full
def test_wandb_without_a_key_writes_offline(tmp_path: Path) -> None:
    Toy().train(tmp_path, loop_config(logger="wandb"))
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert list(run.glob("*.wandb"))


def test_logged_losses_are_means_since_the_last_entry(tmp_path: Path) -> None:
    class Counting(Toy):
        def critic_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            return {**super().critic_loss(batch, step), "step": torch.tensor(float(step))}

    Counting().train(tmp_path)
    assert [entry["critic/step"] for entry in entries(tmp_path)] == [1.5, 5.5, 9.5]


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loop\.device=gpu is unknown; wanted one of auto, cpu, cuda, mps"):
        LoopConfig(device="gpu")
    with pytest.raises(ValueError, match=r"loop\.steps=0 is too small"):
        LoopConfig(steps=0)
    with pytest.raises(ValueError, match=r"loop\.ema_decay=1\.0"):
        LoopConfig(ema_decay=1.0)
    with pytest.raises(ValueError, match=r"optimizer\.learning_rate=nan"):
        OptimizerConfig(learning_rate=float("nan"))
    with pytest.raises(ValueError, match=r"loop\.best_is=largest is unknown; wanted one of max, min"):
        LoopConfig(best_is="largest")
    with pytest.raises(ValueError, match="reads validations, and loop.validate_every=0 makes none"):
        LoopConfig(best_metric="psnr_db", validate_every=0)
    with pytest.raises(ValueError, match="The canary psnr_db has no bound; give it low, high, or both"):
        Canary(metric="psnr_db", step=100)
    with pytest.raises(ValueError, match="Phase frozen has no parameter"):
        Phase("frozen", nn.Linear(2, 2).requires_grad_(False), lambda batch, step: {}, OPTIMIZER)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device=cuda is not available"):
            runtime.choose_device("cuda")


def test_mixed_seeds_differ_in_every_argument() -> None:
    seeds = {runtime.mix(a, b, c) for a in range(10) for b in range(10) for c in range(10)}
    assert len(seeds) == 1000
    assert runtime.mix(1, 2, 3) == 6068882009881663744


# Devices ----------------------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_cpu_and_gpu_take_the_same_steps(tmp_path: Path) -> None:
    def run(device: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(5)
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))

        def loss(batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            return {"total": (net(batch["x"]) - batch["x"].flip(1)).square().mean()}

        phase = Phase("net", net, loss, OPTIMIZER)
        cfg = loop_config(device=device)
        train(cfg, [phase], batch_at, tmp_path / device, ema={"net": net}, export=lambda step, averages: None)
        return final_state(tmp_path / device)

    cpu, gpu = run("cpu"), run("cuda")
    for name, tensor in cpu.items():
        torch.testing.assert_close(
            gpu[name], tensor, rtol=1e-3, atol=1e-5
        )  # fp32, other kernels, twelve Adam steps

"""A run of two adversaries, small enough to be trained dozens of times: what the tests of the loop train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vasa.checkpoint import save_weights
from vasa.training import runtime
from vasa.training.config import LoopConfig, OptimizerConfig
from vasa.training.loop import Phase, train
from vasa.training.state import load_latest_state

BATCH = 8
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, warmup_steps=3)


def loop_config(**changes: Any) -> LoopConfig:
    values = {
        "steps": 12,
        "batch_size": BATCH,
        "device": "cpu",
        "log_every": 4,
        "save_every": 5,
        "logger": "none",
    }
    return LoopConfig(**(values | changes))


def batch_at(step: int, rows: slice = slice(0, BATCH)) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(runtime.mix(17, step))
    return {
        "x": torch.randn(BATCH, 4, generator=generator)[rows],
        "ids": [f"clip{BATCH * step + row}" for row in range(BATCH)][rows],
    }


class Toy:
    """Two adversaries, one with dropout and running statistics: every kind of state a step depends on."""

    def __init__(self, seed: int = 3) -> None:
        torch.manual_seed(seed)
        self.maker = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def phases(self) -> list[Phase]:
        return [
            Phase("maker", self.maker, self.maker_loss, OPTIMIZER),
            Phase("critic", self.critic, self.critic_loss, OPTIMIZER),
        ]

    def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        made = self.maker(batch["x"])
        error = (made - batch["x"].flip(1)).square().mean()
        fooled = -self.critic(made).mean()
        return {"total": error + 0.1 * fooled, "error": error}

    def critic_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        return {"total": (self.critic(self.maker(batch["x"])) - self.critic(batch["x"])).mean().tanh()}

    def train(self, run_dir: Path, cfg: LoopConfig | None = None, **changes: Any) -> int:
        def export(step: int, averages: Any) -> Path:
            path = run_dir / "toy.safetensors"
            save_weights(path, averages["maker"].state_dict(), {}, {"step": step})
            return path

        arguments = {"batch_at": batch_at, "ema": {"maker": self.maker}, "export": export} | changes
        return train(cfg or loop_config(), self.phases(), run_dir=run_dir, **arguments)


class PlainToy(Toy):
    """Without dropout and batch statistics, which processes are right to draw and to take differently, and
    with losses that are means over samples. One of its parameters never gets a gradient.
    """

    def __init__(self, seed: int = 3) -> None:
        super().__init__(seed)
        self.maker = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
        self.maker.register_parameter("unused", nn.Parameter(torch.ones(2)))
        self.made: list[torch.Tensor] = []

    def maker_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        made = self.maker(batch["x"])
        self.made.append(made.detach())
        return {"total": (made - batch["x"].flip(1)).square().mean() - 0.1 * self.critic(made).mean()}

    def critic_loss(self, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        fake = self.critic(self.made.pop(0))
        return {"total": (fake.square() + (self.critic(batch["x"]) - 1).square()).mean()}


def final_state(run_dir: Path) -> dict[str, torch.Tensor]:
    found = load_latest_state(run_dir)
    assert found is not None
    return found[1].tensors


def assert_bitwise(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def assert_nearly(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """To the rounding of fp32 sums in another order; Adam divides by the gradient's size, so that errors stay
    relative.
    """
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            other[name], tensor, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def entries(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def metric_steps(run_dir: Path) -> list[int]:
    return [entry["step"] for entry in entries(run_dir)]

"""The ways of computing the same video that are compared: options of infer.py, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BASELINE = "plain"
SHIPPED = "as shipped"
PLAIN = ("precision=fp32", "layout=nchw", "overlap=false", "compile=false", "graphs=false")


@dataclass(frozen=True, slots=True)
class Variant:
    """options: of infer.py, in order; a later one wins. on: the devices on which it is measured unasked."""

    name: str
    options: tuple[str, ...]
    on: tuple[str, ...] = ("cpu", "cuda", "mps")


VARIANTS = (
    Variant(BASELINE, PLAIN),
    Variant("channels last", (*PLAIN, "layout=channels_last")),
    Variant("overlap", (*PLAIN, "overlap=true")),
    Variant("bf16", (*PLAIN, "precision=bf16")),
    Variant("bf16 channels last", (*PLAIN, "precision=bf16", "layout=channels_last")),
    Variant("compiled", (*PLAIN, "precision=bf16", "layout=channels_last", "compile=true"), ("cuda",)),
    Variant("graphs", (*PLAIN, "precision=bf16", "layout=channels_last", "graphs=true"), ("cuda",)),
    Variant("shipped in fp32", ("precision=fp32",)),
    Variant(SHIPPED, ()),
)
"""A new way is a line here. What ``SHIPPED`` leaves out has infer.py's defaults."""


def chosen(names: Sequence[str], device: str) -> list[Variant]:
    """The baseline, and those that are named; without names those of a device (cpu, cuda or mps).

    Raises: ValueError for a name that no variant has.
    """
    known = {variant.name: variant for variant in VARIANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"variants names {', '.join(unknown)}; wanted some of {', '.join(known)}.")
    wanted = [known[name] for name in names] or [one for one in VARIANTS if device in one.on]
    found: dict[tuple[str, ...], Variant] = {}
    for variant in (known[BASELINE], *wanted):
        found.setdefault(last_of_each(variant.options), variant)  # of two that ask for the same, the first
    return list(found.values())


def last_of_each(options: Sequence[str]) -> tuple[str, ...]:
    """Options NAME=VALUE, of each name the last."""
    return tuple({option.partition("=")[0]: option for option in options}.values())

"""What the page shows of its work, as HTML. Everything that comes from outside is escaped here."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from vasa.app.studio import Progress
from vasa.app.visits import Visit
from vasa.inference.provenance import read_sidecar, sidecar_of

EMPTY = '<div class="v-empty">{}</div>'
ERROR = '<div class="v-state v-error" role="alert">'


def waiting_for(what: str) -> str:
    """Before anything was asked for."""
    return EMPTY.format(escape(what))


def error(text: str) -> str:
    """An error in its sentence."""
    return f"{ERROR}{escape(text)}</div>"


def is_error(html: object) -> bool:
    """Whether a browser says that it shows an error. Nothing else of what it says is used."""
    return isinstance(html, str) and html.startswith(ERROR)


def progress(now: Progress) -> str:
    """Where the work is: in the queue, preparing, or so many frames of so many, with rate and time left."""
    if now.ahead:
        text, share = f"Busy: you are number {now.ahead} in the queue.", 0.0
    elif not now.done:
        text, share = f"{now.task} ...", 0.0
    else:
        share = now.done / now.total
        text = (
            f"{now.task}: {now.done} of {now.total} frames, {now.rate:.1f} frames/s, {now.left_s:.0f} s left"
        )
    bar = f'<div class="v-bar"><i style="width:{share:.1%}"></i></div>'
    return f'<div class="v-state v-busy" role="status">{escape(text)}{bar}</div>'


def banner(state: str, is_loading: bool) -> str:
    """What is the matter with the checkpoint; nothing when it is ready."""
    if not state:
        return ""
    return f'<div class="v-state {"v-busy" if is_loading else "v-error"}">{escape(state)}</div>'


def video(visit: Visit, path: Path, title: str = "", plot: Path | None = None) -> str:
    """A finished video: player, downloads, what moved, and where it comes from."""
    sidecar, source = sidecar_of(path), visit.address(path)
    parts = [f"<h3>{escape(title)}</h3>"] if title else []
    parts.append(f'<video class="v-video" controls playsinline src="{source}"></video>')
    parts.append(f'<p class="v-made">{escape(_summary(sidecar))}</p>')
    parts.append('<p class="v-downloads">')
    parts.append(_download(source, path.name, "Download video"))
    parts.append(_download(visit.address(sidecar), sidecar.name, "Download provenance"))
    parts.append("</p>")
    if plot is not None:
        parts.append("<h4>What moved, over the loudness of the sound</h4>")
        parts.append(f'<img class="v-plot" alt="what moved" src="{visit.address(plot)}">')
    parts.append(_provenance(sidecar))
    return f'<div class="v-result">{"".join(parts)}</div>'


def pair(first: str, second: str) -> str:
    """Two finished videos side by side, with one button that plays both."""
    button = '<p><button class="v-button" data-play-both="1">Play both</button></p>'
    return (
        f'<div class="v-both"><div class="v-pair"><div>{first}</div><div>{second}</div></div>{button}</div>'
    )


def rows(lines: list[tuple[str, str, str]], archive: str = "") -> str:
    """The table of a batch. lines: (name, state, words); state is one of waiting, busy, done, failed."""
    body = "".join(
        f'<tr class="v-{state}"><td>{escape(name)}</td><td>{escape(words)}</td></tr>'
        for name, state, words in lines
    )
    return f'<table class="v-rows"><tr><th>video</th><th>state</th></tr>{body}</table>{archive}'


def archive(visit: Visit, path: Path) -> str:
    """The download of a batch."""
    link = _download(visit.address(path), path.name, f"Download all ({path.stat().st_size / 1e6:.1f} MB)")
    return f'<p class="v-downloads">{link}</p>'


def _download(address: str, name: str, words: str) -> str:
    return f'<a class="v-button" href="{address}" download="{escape(name)}">{escape(words)}</a>'


def _summary(sidecar: Path) -> str:
    known = read_sidecar(sidecar) or {}
    timings = known.get("timings", {})
    return (
        f"{known.get('frames')} frames, {known.get('seconds', 0):.1f} s, {known.get('width')}x"
        f"{known.get('height')}, made in {timings.get('total_s', 0):.1f} s"
    )


def _provenance(sidecar: Path) -> str:
    known = read_sidecar(sidecar) or {}
    model, request = known.get("model", {}), known.get("request", {})
    shown = {
        "note": known.get("note"),
        "made with": known.get("made_with"),
        "checkpoint": f"{model.get('name')} (face {model.get('face_sha256', '')[:12]})",
        "seed": known.get("seed"),
        "options": ", ".join(f"{k}={v}" for k, v in request.get("options", {}).items()) or "all at defaults",
        "inputs": ", ".join(
            f"{name} {given.get('name', given.get('made'))} ({given['sha256'][:12]})"
            for name, given in known.get("inputs", {}).items()
        ),
        "video": f"SHA-256 {known.get('video', {}).get('sha256')}",
    }
    table = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in shown.items())
    whole = escape(json.dumps(known, indent=2, ensure_ascii=False))
    return (
        f'<details class="v-provenance"><summary>Where it comes from</summary><table>{table}</table>'
        f"<details><summary>All of it</summary><pre>{whole}</pre></details></details>"
    )

"""Headless Chromium with a microphone that hums, through playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; skips where there is none, or nothing that drives it."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("VASA_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here (VASA_CHROMIUM names it)")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


class Watched:
    """A page, and what it asks of other machines and complains of."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.set_default_timeout(60_000)
        self.outside: list[str] = []
        self.complaints: list[str] = []
        local = (url, url.replace("http", "ws"), "data:", "blob:")
        self.page.on("request", lambda r: r.url.startswith(local) or self.outside.append(r.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("#speak-go")

    def tab(self, name: str) -> None:
        """Opens a tab."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        if name == "Live":  # gradio fills a tab when it is opened
            self.page.wait_for_selector("#live-token", state="attached")

    def upload(self, place: str, path: Any) -> None:
        """Puts a file into a component that shows what it holds, and waits until it holds this one."""
        held = ("Clear", "Remove Image")  # what gradio calls the button of a component that holds a file
        clear = self.page.locator(", ".join(f"{place} button[aria-label='{name}']" for name in held)).first
        if clear.is_visible():
            clear.click()
            clear.wait_for(state="detached")
        self.page.set_input_files(f"{place} input[type=file]", path)
        clear.wait_for()

    def set(self, place: str, value: float | str) -> None:
        """Gives a control a value, as a hand at its number box would; waits until its slider has it, too."""
        box = self.page.locator(f"{place} input").first
        box.fill(str(value))
        box.press("Enter")
        box.blur()
        self.page.wait_for_function(
            "([p, value]) => [...document.querySelectorAll(`${p} input`)].every((e) => +e.value === value)",
            arg=[place, value],
        )

    def choose(self, place: str, words: str) -> None:
        """Takes an entry of a list, as a hand with a mouse would."""
        box = self.page.locator(f"{place} input").first
        box.click()
        self.page.locator(f"{place} [role=option]", has_text=words).first.click()
        self.page.wait_for_function(
            "([place, words]) => document.querySelector(place).value === words", arg=[f"{place} input", words]
        )

    def slide(self, name: str, value: float) -> None:
        """Moves a slider of the live view."""
        self.page.locator(f"[data-control={name}]").evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value
        )

    def said(self, place: str, words: str) -> None:
        """Waits until a place says something. What was asked for before must have been said before: gradio
        takes no second press of a button whose first is not answered."""
        self.page.wait_for_function(
            "([place, words]) => document.querySelector(place)?.innerText.includes(words)", arg=[place, words]
        )

    def silent(self, place: str) -> None:
        """Waits until a place says nothing."""
        self.page.wait_for_function("(p) => !document.querySelector(p)?.innerText.trim()", arg=place)

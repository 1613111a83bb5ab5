"""An operator at Dagster's UI: a real browser, and what is clicked, typed, read and photographed in it.

What belongs here: how the UI is operated. What must be seen is in the test.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Error, Locator, Page, ViewportSize, sync_playwright

from bedrock_pipeline_tests.waiting import PATIENCE_S, until

#: Debian's, and those of GitHub's machines.
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
#: What the documentation's pictures are made with.
_SIZE: Final[ViewportSize] = {"width": 1280, "height": 800}
_STILL: Final = "*, *::before, *::after { animation: none !important; transition: none !important; caret-color: transparent !important }"


def browser_path() -> str | None:
    """The browser of this machine; None: it has none. Playwright's own are not downloaded."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def operator_at(url: str, executable: str, pictures: Path | None) -> Iterator["Operator"]:
    """An operator who has opened the UI in a browser of a fixed size, language and time zone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu"] if os.geteuid() == 0 else ["--disable-gpu"],
        )
        page = browser.new_page(
            viewport=_SIZE, locale="en-GB", timezone_id="UTC", color_scheme="light", reduced_motion="reduce"
        )
        page.set_default_timeout(PATIENCE_S * 1000)
        page.set_default_navigation_timeout(PATIENCE_S * 1000)
        try:
            yield Operator(page, url, pictures)
        finally:
            browser.close()


class Operator:
    """What an operator does and sees.

    Args:
        page: of the browser.
        url: of the UI.
        pictures: folder for screenshots; None: none are made.
    """

    def __init__(self, page: Page, url: str, pictures: Path | None) -> None:
        self._page, self._url, self._pictures = page, url, pictures

    def fill_in(self, job: str, form: str) -> None:
        """Open the launchpad of a job by clicks, and type into its form until it can be launched."""
        page = self._page
        page.goto(self._url)
        for name in ("Jobs", job):
            self._clickable("link", name).click()
        page.get_by_role("tab", name="Launchpad").click()
        editor = page.locator(".CodeMirror").first
        editor.click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(form)
        page.get_by_text("No errors", exact=True).wait_for()

    def launch(self) -> None:
        """Launch what is filled in; the page of its run opens."""
        self._page.get_by_role("button", name="Launch Run").click()
        self._page.wait_for_url("**/runs/*")

    def sees(self, path: str | None, *texts: str) -> None:
        """Open a page, or stay on it, until it shows all of these texts.

        Most pages follow what happens; one that does not show it after a while is opened again, and given longer.
        """
        if path is not None:
            self._page.goto(f"{self._url}{path}")
        patience = itertools.chain((15_000, 30_000, 60_000), itertools.repeat(120_000))

        def seen() -> bool:
            look = next(patience)
            try:
                for text in texts:
                    self._text(text).wait_for(timeout=look)
            except Error:
                self._page.reload()
                return False
            return True

        until(seen, lambda: f"{texts} on {path}: {self._page.inner_text('body')}")

    def chooses(self, text: str) -> None:
        """Click on a text."""
        self._text(text).click()

    def executes_check(self) -> None:
        """Evaluate the check that is shown."""
        self._clickable("button", "Execute").click()

    def photographs(self, name: str, centre: str | None = None) -> None:
        """A picture for the documentation, scrolled to a text if one is given."""
        if self._pictures is None:
            return
        page = self._page
        page.add_style_tag(content=_STILL)
        if centre is not None:
            self._text(centre).scroll_into_view_if_needed()
        page.mouse.move(0, 0)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=self._pictures / f"{name}.png", animations="disabled")

    def _clickable(self, role: Literal["button", "link"], text: str) -> Locator:
        """By its text; its name has that of its icon too."""
        return self._page.get_by_role(role).filter(has=self._page.get_by_text(text, exact=True)).first

    def _text(self, text: str) -> Locator:
        return self._page.get_by_text(text).locator("visible=true").first

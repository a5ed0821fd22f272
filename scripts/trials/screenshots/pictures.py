"""Pictures of pages in a real browser: light, dark, and as wide as a telephone."""

import io
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, async_playwright

_DESK: Final = {"width": 1280, "height": 800}
_PHONE: Final = {"width": 390, "height": 844}
LOOKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": _DESK},
    "dark": {"color_scheme": "dark", "viewport": _DESK},
    "narrow": {"color_scheme": "light", "viewport": _PHONE},
}
# As many as fit into a byte: the pages have no photographs.
_COLOURS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A page to take pictures of.

    Args:
        name: what the files are called.
        path: the page's, below the dashboard.
        looks: how it is looked at.
    """

    name: str
    path: str
    looks: Collection[str] = ("light",)


async def take(url: str, shots: Collection[Shot], folder: Path, name: str, password: str) -> None:
    """Take pictures.

    Args:
        url: where the dashboard is.
        name: who logs in.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for look in LOOKS:
            page = await _entered(browser, look, url, name, password)
            for shot in shots:
                if look in shot.looks:
                    await page.goto(url + shot.path)
                    taken = await page.screenshot()
                    (folder / f"{shot.name}-{look}.png").write_bytes(smaller(taken))
        await browser.close()


async def _entered(browser: Browser, look: str, url: str, name: str, password: str) -> Page:
    context = await browser.new_context(**LOOKS[look], reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(f"{url}login")
    await page.fill("input[name=name]", name)
    await page.fill("input[name=password]", password)
    await page.click("main button")
    return page


def smaller(png: bytes) -> bytes:
    """Write a picture with fewer colours, if there is a library for that: Pillow."""
    try:
        from PIL import Image  # it may be missing
    except ImportError:
        return png
    written = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(_COLOURS).save(
        written, "PNG", optimize=True
    )
    return min(written.getvalue(), png, key=len)

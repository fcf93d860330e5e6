"""The browser's own camera, with a real stream out of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.page.conftest import Site, chromium, opened

WIDTH, HEIGHT = 640, 480


def film(path: Path) -> Path:
    """A YUV4MPEG2 film of one picture: black on the left, white on the right, a grid of lines over it."""
    luma = np.full((HEIGHT, WIDTH), 30, np.uint8)
    luma[:, WIDTH // 2 :] = 220
    luma[::16] = 128
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8).tobytes()
    frame = b"FRAME\n" + luma.tobytes() + grey + grey
    path.write_bytes(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F30:1 Ip A1:1 C420jpeg\n".encode() + frame * 5)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = film(tmp_path_factory.mktemp("film") / "film.y4m")
    with chromium(
        "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={path}"
    ) as browser:
        yield browser


def test_a_picture_is_taken_and_the_camera_is_let_go(browser: Any, site: Site) -> None:
    with opened(browser, site.url, permissions=["camera"]) as page:
        page.focus("[aria-label='Take the back photograph']")
        page.keyboard.press("Enter")
        page.wait_for_selector("#camera[open] #camera-take:not([disabled])")
        assert page.inner_text("#camera-heading") == "Back photograph"
        page.evaluate("window.tracks = document.getElementById('camera-picture').srcObject.getTracks()")
        assert page.evaluate("document.activeElement.id") == "camera-take"
        page.keyboard.press("Enter")
        page.wait_for_selector("#slot-back.taken canvas")
        size, left, right = page.evaluate(
            """() => {
              const canvas = document.querySelector("#slot-back canvas");
              const context = canvas.getContext("2d");
              const at = (x) => context.getImageData(x * canvas.width, canvas.height / 2 + 5, 1, 1).data[0];
              return [[canvas.width, canvas.height], at(0.25), at(0.75)];
            }"""
        )
        assert size[0] / size[1] == pytest.approx(WIDTH / HEIGHT, abs=0.01)
        assert left < 60
        assert right > 190
        assert page.evaluate("window.tracks.map((one) => one.readyState)") == ["ended"]
        assert not page.is_visible("#camera")
        assert (
            page.evaluate("document.activeElement.getAttribute('aria-label')") == "Take the back photograph"
        )


def test_a_cancelled_camera_is_let_go_too(browser: Any, site: Site) -> None:
    with opened(browser, site.url, permissions=["camera"]) as page:
        page.click("#slot-front .slot-actions button")
        page.wait_for_selector("#camera[open] #camera-take:not([disabled])")
        page.evaluate("window.tracks = document.getElementById('camera-picture').srcObject.getTracks()")
        page.keyboard.press("Escape")
        page.wait_for_selector("#camera:not([open])", state="attached")
        assert page.evaluate("window.tracks.map((one) => one.readyState)") == ["ended"]
        assert page.query_selector(".slot.taken") is None
        assert page.is_disabled("#analyze")


def test_without_permission_a_file_is_suggested(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        page.context.clear_permissions()
        page.evaluate(
            """() => {
              const refuse = () => Promise.reject(new DOMException("no", "NotAllowedError"));
              navigator.mediaDevices.getUserMedia = refuse;
            }"""
        )
        page.click("#slot-front .slot-actions button")
        page.wait_for_selector("#slot-front .warning:has-text('Choose a file')")
        assert "Choose a file" in page.inner_text("#slot-front .warning")
        assert not page.is_visible("#camera")

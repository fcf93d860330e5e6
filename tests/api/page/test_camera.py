"""Photographs with the browser's camera, which shows a video from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.page.conftest import PHONE, Site, chromium, opened, until

WIDTH, HEIGHT = 640, 480


def film(path: Path) -> Path:
    """Writes a YUV4MPEG2 video of one picture: black on the left, white on the right, with a grid of
    lines."""
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


def test_the_camera_walks_from_front_to_back_to_tilted(browser: Any, site: Site) -> None:
    with opened(browser, site.url, permissions=["camera"], **PHONE) as page:
        page.click("#guide")
        for title in ("Front", "Back", "Tilted"):
            page.wait_for_selector(f"#camera-heading:has-text('{title} photograph')")
            page.wait_for_selector("#camera-take:not([disabled])")
            page.wait_for_selector(".meter.good", state="attached")
            page.click("#camera-take")
        page.wait_for_selector("#camera", state="detached")
        page.wait_for_selector("#slot-angled.taken canvas")
        assert page.locator(".slot.taken").count() == 3
        until(page, "() => document.activeElement.id === 'analyze'")


def test_the_outline_is_the_region_of_the_picture(browser: Any, site: Site) -> None:
    with opened(browser, site.url, permissions=["camera"]) as page:
        region = page.evaluate(
            """async () => {
              ImageCapture.prototype.takePhoto = () => Promise.reject(new Error("the film only"));
              const { guide } = await import("/static/capture/camera.js");
              const { VIEWS } = await import("/static/capture/slots.js");
              return new Promise((resolve) => {
                guide(VIEWS.slice(0, 1), (view, file, region) => resolve([view, file.type, region]));
                const shutter = () => document.querySelector("#camera-take:not([disabled])");
                const wait = () => (shutter() ? shutter().click() : requestAnimationFrame(wait));
                wait();
              });
            }"""
        )
        view, kind, (x, y, width, height) = region
        assert (view, kind) == ("front", "image/jpeg")
        assert width * WIDTH == pytest.approx(height * HEIGHT, rel=0.01), "the outline is a square"
        assert (2 * x + width, 2 * y + height) == pytest.approx((1, 1), abs=0.001), "in the middle"
        assert 0.3 < height <= 1


def test_what_would_make_the_picture_better_is_said(browser: Any, site: Site) -> None:
    said = """async (draw) => {
      const { measured } = await import("/static/capture/photographs.js");
      const { pinBox } = await import("/static/capture/outline.js");
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [200, 200];
      const context = canvas.getContext("2d");
      context.fillStyle = "#999";
      context.fillRect(0, 0, 200, 200);
      context.fillStyle = "#c22";
      context.beginPath();
      context.arc(100, 100, draw.radius, 0, 7);
      context.fill();
      if (draw.glare) { context.fillStyle = "#fff"; context.fillRect(70, 70, 60, 60); }
      const { width, sure } = pinBox(canvas);
      return { ...measured(canvas), width, sure };
    }"""
    with opened(browser, site.url) as page:
        near, far = page.evaluate(said, {"radius": 80}), page.evaluate(said, {"radius": 30})
        assert near["sure"]
        assert near["width"] == pytest.approx(0.85, abs=0.08)
        assert far["width"] == pytest.approx(0.34, abs=0.08)
        assert near["edge"] > 18
        assert near["glare"] == 0
        assert page.evaluate(said, {"radius": 80, "glare": True})["glare"] > 0.05
        assert not page.evaluate(said, {"radius": 0})["sure"]


def test_a_picture_is_taken_and_the_camera_is_let_go(browser: Any, site: Site) -> None:
    with opened(browser, site.url, permissions=["camera"]) as page:
        page.focus("[aria-label='Take the back photograph']")
        page.keyboard.press("Enter")
        page.wait_for_selector("#camera[open] #camera-take:not([disabled])")
        assert page.inner_text("#camera-heading") == "Back photograph"
        page.evaluate(
            "() => { ImageCapture.prototype.takePhoto = () => Promise.reject(new Error('the film only')); }"
        )
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
        assert page.query_selector("#camera") is None
        assert (
            page.evaluate("document.activeElement.getAttribute('aria-label')") == "Take the back photograph"
        )


def test_a_cancelled_camera_is_let_go_too(browser: Any, site: Site) -> None:
    with opened(browser, site.url, permissions=["camera"]) as page:
        page.click("#slot-front .tools button")
        page.wait_for_selector("#camera[open] #camera-take:not([disabled])")
        page.evaluate("window.tracks = document.getElementById('camera-picture').srcObject.getTracks()")
        page.keyboard.press("Escape")
        page.wait_for_selector("#camera", state="detached")
        assert page.evaluate("window.tracks.map((one) => one.readyState)") == ["ended"]
        assert page.query_selector(".slot.taken") is None
        assert not page.is_visible("#analyze")


def test_without_permission_a_file_is_suggested(browser: Any, site: Site) -> None:
    with opened(browser, site.url) as page:
        page.context.clear_permissions()
        page.evaluate(
            """() => {
              const refuse = () => Promise.reject(new DOMException("no", "NotAllowedError"));
              navigator.mediaDevices.getUserMedia = refuse;
            }"""
        )
        page.click("#slot-front .tools button")
        page.wait_for_selector("#slot-front .warning:has-text('Choose a file')")
        assert "Choose a file" in page.inner_text("#slot-front .warning")
        assert not page.is_visible("#camera")

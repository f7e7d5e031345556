"""The page in headless Chromium: a visitor's way through it, and hostile inputs."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from tests.support.browser import chromium
from tests.support.pages import ROOT

# Minutes: a server that compiles, and a browser. test_handlers.py has the same work without them.
pytestmark = pytest.mark.slow

SECONDS = 240
MILLISECONDS = 1000 * SECONDS
LIMIT_MB = 1


class Server(NamedTuple):
    url: str
    log: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """`videogen app` with the smallest model."""
    folder = tmp_path_factory.mktemp("server")
    micro_model.model().save(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from videogen_jax.cli import main; main()"
    arguments = ["app", "--model", "model", "--port", str(port), "--max-upload-mb", str(LIMIT_MB)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    environment["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            time.sleep(1)
    yield Server(url, log)
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def page(server) -> Iterator[Any]:
    with chromium(viewport={"width": 1280, "height": 1600}) as tab:
        tab.set_default_timeout(MILLISECONDS)
        tab.goto(server.url)
        yield tab


def wait_for_status(page: Any, beginning: str) -> str:
    """Waits until the status begins with a text; returns all of it."""
    page.wait_for_function(
        "text => document.querySelector('#status textarea').value.startsWith(text)", arg=beginning
    )
    return page.input_value("#status textarea")


def generate(page: Any, prompt: str, seed: str = "0") -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#seed input", seed)
    page.evaluate("document.querySelector('#status textarea').value = ''")  # of the last call
    page.click("#generate")


def test_a_prompt_becomes_a_playing_video(page):
    generate(page, "a red circle moving left")
    assert "a red circle moving left" in wait_for_status(page, "done")
    page.wait_for_selector("#video video")
    page.wait_for_function("document.querySelector('#video video').readyState >= 2")
    page.evaluate("document.querySelector('#video video').play()")
    page.wait_for_function("document.querySelector('#video video').currentTime > 0")
    assert "videogen sample" in page.inner_text("body")
    if path := os.environ.get("VIDEOGEN_SCREENSHOT"):
        page.screenshot(path=path, full_page=True)


def test_an_uploaded_image_is_the_reference(page, tmp_path):
    Image.fromarray(np.full((20, 30, 3), (200, 30, 40), np.uint8)).save(tmp_path / "mine.png")
    page.set_input_files("input[type=file] >> nth=0", tmp_path / "mine.png")
    page.wait_for_selector("button[aria-label=Clear], button[aria-label='Remove Image']")
    generate(page, "a ring moving up", "1")
    wait_for_status(page, "done")
    assert "--reference reference.png" in page.inner_text("body")
    page.click("button[aria-label=Clear], button[aria-label='Remove Image']")


def test_cancel_ends_the_call(page):
    generate(page, "a star growing", "3")
    page.click("#cancel")
    status = wait_for_status(page, "")
    page.wait_for_function(
        "() => /^(cancelled|done|nothing)/.test(document.querySelector('#status textarea').value)"
    )
    assert not status.startswith("error")


@pytest.mark.parametrize(
    ("prompt", "seed", "status"),
    [
        ("<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>", "0", "done"),
        ("'; rm -rf / #", "0", "done"),
        ("a ring", "-1", "error: seed is -1, expected an integer from 0 to 4294967295"),
        (" ", "0", "error: the prompt is empty"),
        ("x" * 5000, "0", "error: prompt has 5000 characters"),
    ],
)
def test_hostile_texts_are_only_text(page, prompt, seed, status):
    generate(page, prompt, seed)
    wait_for_status(page, status)
    assert page.evaluate("window.hacked") is None


def status_of(url: str, data: bytes | None = None, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "log.txt"]
)
def test_no_path_of_the_browser_is_served(server, path):
    for route in ("gradio_api/file=", "file="):
        assert status_of(f"{server.url}/{route}{path}") in (403, 404)


@pytest.mark.parametrize("path", ["/etc/passwd", "log.txt", "http://127.0.0.1:1/x.png"])
def test_no_path_of_the_browser_is_an_upload(server, path):
    """A request of the page's own form, with a path in place of an uploaded file."""
    with urllib.request.urlopen(f"{server.url}/gradio_api/info") as answer:
        inputs = json.load(answer)["named_endpoints"]["/generate"]["parameters"]
    values = [one.get("parameter_default") for one in inputs]
    picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
    data = [picture if "Reference" in one["label"] else v for one, v in zip(inputs, values)]
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(
        f"{server.url}/gradio_api/call/generate", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        number = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{server.url}/gradio_api/call/generate/{number}") as answer:
        text = answer.read().decode()
    assert "event: error" in text and "root:" not in text


def test_large_uploads_are_refused(server):
    edge = "edge"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head.encode() + bytes(2 * LIMIT_MB * 2**20) + f"\r\n--{edge}--\r\n".encode()
    kind = f"multipart/form-data; boundary={edge}"
    url = f"{server.url}/gradio_api/upload"
    assert status_of(url, body, **{"Content-Type": kind}) == 413


def test_the_page_listens_on_this_machine_alone(server):
    """No other address of this machine answers."""
    port = int(server.url.rsplit(":", 1)[1])
    listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True).stdout
    if not listening:
        pytest.skip("there is no `ss`")
    addresses = [line.split()[3] for line in listening.splitlines()[1:]]
    assert [one for one in addresses if one.endswith(f":{port}")] == [f"127.0.0.1:{port}"]

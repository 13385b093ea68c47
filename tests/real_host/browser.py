"""A real Chromium without a window, driven by its DevTools protocol."""

import asyncio
import base64
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from tests.real_host.paperclip import eventually, expect

OPTIONS = ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")
CLICKABLE = "button, a, summary, [role=button], [role=option], [role=tab]"
START_TIMEOUT = 30.0
"""Seconds until Chromium accepts connections."""
CALL_TIMEOUT = 30.0
"""Seconds that one command may take."""


class NoBrowser(Exception):
    """Chromium is not installed."""


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.errors: list[str] = []
        """Exceptions of the page and of its workers, and messages with the level `error`."""

    async def call(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        self._calls += 1
        number = self._calls
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(CALL_TIMEOUT):
            async for message in self._socket:
                received = json.loads(message.data)
                if received.get("id") == number:
                    expect("error" not in received, f"{method} succeeds", received)
                    return received["result"]
                self._record(received)
                if received.get("method") == "Page.javascriptDialogOpening":  # "Leave the page?"
                    self._calls += 1
                    accept = {"method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                    await self._socket.send_json({"id": self._calls, **accept})
        raise ConnectionError("Chromium has closed the connection")

    def _record(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            self.errors.append(str(details.get("exception", {}).get("description") or details.get("text")))
        if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.errors.append(event["params"]["entry"]["text"])

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        reply = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        expect("exceptionDetails" not in reply, f"{expression[:80]} does not raise", reply)
        return reply["result"].get("value")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def wait_for_text(self, text: str, limit: float, *more: str) -> str:
        """Wait at most `limit` seconds until the page shows all these texts; return its whole text."""
        texts = (text, *more)
        what = f"a page that shows {', '.join(map(repr, texts))}"
        shown = await eventually(self.text, lambda shown: all(part in shown for part in texts), what, limit)
        return str(shown)

    async def text(self) -> str:
        return str(await self.evaluate("document.body?.innerText ?? ''"))

    async def click(self, label: str, selector: str = CLICKABLE) -> None:
        """Click with the mouse on the first element with exactly this text, as soon as it is enabled."""
        at = await eventually(partial(self._position, label, selector), bool, f"an element {label!r}", 30)
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1}
            await self.call("Input.dispatchMouseEvent", **event)

    async def _position(self, label: str, selector: str) -> Any:
        """Return the middle of the element on the screen; None if there is no such element."""
        return await self.evaluate(
            f"""(() => {{
              const all = [...document.querySelectorAll({selector!r})];
              const enabled = all.filter((element) => !element.disabled);
              const found = enabled.find((element) => element.innerText.trim() === {label!r});
              found?.scrollIntoView({{ block: "center" }});
              const box = found?.getBoundingClientRect();
              return box ? {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }} : null;
            }})()"""
        )

    async def screenshot(self, path: Path, *, width: int = 1400, height: int = 1600) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        await asyncio.sleep(0.5)  # the page adapts to its new size
        picture = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(picture["data"]))


@asynccontextmanager
async def open_page() -> AsyncIterator[Page]:
    """Start Chromium with a new profile, and open one tab.

    Raises:
        NoBrowser: there is no Chromium on the PATH.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise NoBrowser("there is no Chromium on the PATH")
    profile = Path(tempfile.mkdtemp(prefix="claude-k8s-chromium-"))
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        program,
        *OPTIONS,
        *sandbox,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as http:
            address = f"http://127.0.0.1:{await _port(profile)}/json"
            async with http.get(address) as response:
                tab = next(target for target in await response.json() if target["type"] == "page")
            async with http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _port(profile: Path) -> int:
    """Return the port on which Chromium listens. Chromium writes it to a file."""
    file = profile / "DevToolsActivePort"

    async def written() -> str:
        return file.read_text() if file.exists() else ""

    content = await eventually(written, lambda text: "\n" in text, "Chromium's port", START_TIMEOUT)
    return int(content.split()[0])

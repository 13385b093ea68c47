"""Events as lines for a terminal, with and without colour."""

from collections.abc import Iterator
from typing import Any

from paperclip_claude_k8s.claude.events import read_json

SHOWN = 400
"""Characters of one block that are shown; the rest is in the output itself."""
_COLOURS = {"dim": "2", "bold": "1", "green": "32", "red": "31", "cyan": "36", "yellow": "33"}


def format_line(line: str, *, colour: bool) -> list[str]:
    """What a person should see of one stdout line: nothing, one line or several."""
    event = read_json(line.encode("utf-8", "surrogatepass"))
    if not isinstance(event, dict) or not event.get("type"):
        return [line] if line.strip() else []
    return [_painted(style, text) if colour else text for style, text in _told(event)]


def _painted(style: str, text: str) -> str:
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style else text


def _told(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    match event["type"], event.get("subtype"):
        case "system", "init":
            yield "dim", f"session {event.get('session_id')} · {event.get('model')}"
        case "system", "api_retry":
            attempt = f"{event.get('attempt')}/{event.get('max_retries')}"
            yield "yellow", f"retry {attempt}: {event.get('error')} {event.get('error_status') or ''}"
        case "assistant" | "user", _:
            blocks = (event.get("message") or {}).get("content")
            for block in blocks if isinstance(blocks, list) else []:
                yield from _block(block)
        case "result", subtype:
            yield from _result(event, str(subtype))


def _block(block: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401  # whatever the CLI printed
    match block:
        case {"type": "text", "text": str(text)}:
            yield "", _clipped(text)
        case {"type": "thinking", "thinking": str(text)} if text:
            yield "dim", _clipped(text)
        case {"type": "tool_use", "name": str(name), "input": dict(given)}:
            yield "cyan", f"→ {name} {_clipped(', '.join(f'{k}={v}' for k, v in given.items()))}"
        case {"type": "tool_result", "content": content}:
            bad = block.get("is_error") is True
            yield ("red" if bad else "dim"), f"← {_clipped(content if isinstance(content, str) else '…')}"


def _result(event: dict[str, Any], subtype: str) -> Iterator[tuple[str, str]]:
    bad = event.get("is_error") or subtype != "success"
    cost = event.get("total_cost_usd")
    price = f" · ${cost:.4f}" if isinstance(cost, (int, float)) else ""
    yield ("red" if bad else "green"), f"{'failed' if bad else 'done'} ({subtype}){price}"


def _clipped(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else f"{flat[: SHOWN - 1]}…"

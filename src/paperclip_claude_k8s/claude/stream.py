"""Lines of stream-json, as the host saw them → a Transcript."""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from paperclip_claude_k8s.claude.transcript import HEAD_BYTES, TAIL_BYTES, TokenUsage, Transcript

TEXT_LIMIT = 256 * 1024
"""Characters of the agent's own texts that are kept for a summary."""


def read_json(line: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The line's value, or None where it is no JSON, or nested deeper than anyone can follow.

    Lone surrogates are real and only json takes them.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return None


class StreamReader:
    def __init__(self) -> None:
        self._session: str | None = None
        self._init: dict[str, Any] = {}
        self._model = ""
        self._result: dict[str, Any] | None = None
        self._texts: dict[str, list[str]] = {}
        self._kept = 0
        self._substance = False
        self._assistants = 0
        self._errors: list[str] = []
        self._rate_limit: dict[str, Any] | None = None
        self._plain = ""
        self._stderr = b""
        self._head = b""
        self._tail = b""
        self._bytes = 0
        self._lines = 0

    def feed(self, block: bytes) -> None:
        self._bytes += len(block)
        if len(self._head) < HEAD_BYTES:
            self._head = (self._head + block)[:HEAD_BYTES]
        self._tail = (self._tail + block[-TAIL_BYTES:])[-TAIL_BYTES:]
        for line in block.split(b"\n"):
            if line:
                self._lines += 1
                self._line(line)

    def feed_stderr(self, block: bytes) -> None:
        self._stderr = (self._stderr + block)[-HEAD_BYTES:]

    def _line(self, line: bytes) -> None:
        event = read_json(line)
        if not isinstance(event, dict) or not event.get("type"):
            self._plain = self._plain or line.decode("utf-8", "replace").strip()
            return
        match event["type"], event.get("subtype"):
            case "system", "init":
                self._init = event
                self._session = event.get("session_id")
            case "assistant", _:
                self._assistant(event)
            case "result", _:
                self._result = event
            case "rate_limit_event", _:
                self._rate_limit = event.get("rate_limit_info")

    def _assistant(self, event: dict[str, Any]) -> None:
        if event.get("error"):
            self._errors.append(str(event["error"]))
        if event.get("parent_tool_use_id"):
            return
        self._assistants += 1
        message = event.get("message") or {}
        model = message.get("model")
        if model and model != "<synthetic>":
            self._model = model
        blocks = message.get("content") or []
        texts = [
            b["text"] for b in blocks if isinstance(b, dict) and b.get("type") == "text" and b.get("text")
        ]
        if blocks or (message.get("usage") or {}).get("output_tokens"):
            self._substance = True
        if texts:
            self._keep(str(message.get("id")), texts)

    def _keep(self, message: str, texts: list[str]) -> None:
        """For the summary; the oldest messages of a long run go, since nobody reads so long a summary."""
        self._texts.setdefault(message, []).extend(texts)
        self._kept += sum(map(len, texts))
        while self._kept > TEXT_LIMIT and len(self._texts) > 1:
            oldest = self._texts.pop(next(iter(self._texts)))
            self._kept -= sum(map(len, oldest))

    def finish(self) -> Transcript:
        result = self._result
        return Transcript(
            session_id=self._session,
            init_model=str(self._init.get("model") or ""),
            model=self._model or str(self._init.get("model") or ""),
            summary=self._summary(),
            usage=_usage(result),
            cost_usd=result.get("total_cost_usd") if result else None,
            result=result,
            cut_short=result is None and self._substance,
            empty_reply=self._empty_reply(),
            warnings=tuple(_warnings(result)),
            assistant_errors=tuple(self._errors),
            first_plain_line=self._plain,
            stderr_tail=self._stderr.decode("utf-8", "replace"),
            api_key_source=str(self._init.get("apiKeySource") or ""),
            rate_limit=self._rate_limit,
            excerpt=self._excerpt(),
            lines=self._lines,
            bytes=self._bytes,
        )

    def _empty_reply(self) -> bool:
        """Only empty assistant events and no result, or the CLI's own diagnosis and no event at all."""
        if self._result is None:
            return self._assistants > 0 and not self._substance
        completed = self._result.get("terminal_reason") == "completed"
        return completed and self._result.get("subtype") == "error_during_execution" and not self._assistants

    def _summary(self) -> str:
        last = list(self._texts.values())[-1] if self._texts else []
        said = (self._result or {}).get("result")
        if isinstance(said, str) and said:
            if last and last[-1].strip() == said.strip():
                return "\n\n".join(last)
            return said
        return "\n\n".join(text for texts in self._texts.values() for text in texts)

    def _excerpt(self) -> str:
        left_out = self._bytes - len(self._head) - len(self._tail)
        if left_out <= 0:
            joined = self._head + self._tail[max(len(self._head) + len(self._tail) - self._bytes, 0) :]
            return joined.decode("utf-8", "replace")
        note = f"\n[... {left_out} bytes left out ...]\n"
        return self._head.decode("utf-8", "replace") + note + self._tail.decode("utf-8", "replace")


def _warnings(result: dict[str, Any] | None) -> Iterator[str]:
    """What makes a success suspicious (EVENTS.md 3): told with it, never a failure."""
    if result is None or result.get("is_error") or result.get("subtype") != "success":
        return
    if result.get("result") == "":
        yield "the result is empty"
    if "stop_reason" in result and result["stop_reason"] is None and result.get("terminal_reason"):
        yield "stop_reason is null: the answer may have been cut in mid-stream"


def _usage(result: dict[str, Any] | None) -> TokenUsage | None:
    if result is None:
        return None
    models = result.get("modelUsage") or {}
    if models:
        names = ("inputTokens", "cacheCreationInputTokens", "outputTokens", "cacheReadInputTokens")
        rows = list(models.values())
    else:
        names = ("input_tokens", "cache_creation_input_tokens", "output_tokens", "cache_read_input_tokens")
        rows = [result.get("usage") or {}]
    fresh, created, written, cached = (sum(int(row.get(name) or 0) for row in rows) for name in names)
    return TokenUsage(fresh + created, written, cached)

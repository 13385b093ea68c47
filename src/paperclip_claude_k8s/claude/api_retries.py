"""API calls that the Claude CLI retries, from its `api_retry` events."""

from paperclip_claude_k8s.claude.events import Event, count, get_name


class ApiRetries:
    """Counts the retries, and describes the last one until an answer follows."""

    def __init__(self) -> None:
        self.count = 0
        self.pending = ""
        """The last retry, such as "attempt 3 of 10, status 529"; empty after an answer or a result."""

    def add(self, event: Event) -> None:
        self.count += 1
        attempt, limit, status = (count(event, key) for key in ("attempt", "max_retries", "error_status"))
        parts = [f"attempt {attempt} of {limit}" if limit else f"attempt {attempt}"]
        parts.append(f"status {status}" if status else "no answer from the API")
        error = get_name(event, "error")
        self.pending = ", ".join(parts) + (f" ({error})" if error and error != "unknown" else "")

"""What people and other agents said: messages, annotations, comments, answers."""

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.wake.quoting import fenced_json, line, spoken
from paperclip_claude_k8s.plan.wake.view import WakeView


def spoken_sections(wake: WakeView) -> str:
    payload = wake.payload
    told = [
        _titled(
            "## Agent Session Message", "User content: somebody wrote this to you.", payload["agentMessage"]
        ),
        _titled("### New annotations", "What changed in the annotations:", payload["annotationDeltas"]),
        _titled("### Comments on the plan", "Settle them in the plan:", payload["planReviewContext"]),
        _titled("### Annotated documents", "Settle them in the document:", payload["documentReviewContext"]),
    ]
    return "\n\n".join(part for part in told if part)


def comments(wake: WakeView) -> str:
    shown = [_comment(number, comment) for number, comment in enumerate(wake.payload["comments"], start=1)]
    return "\n\n".join(["New comments in order:", *shown]) if shown else ""


def answers(wake: WakeView) -> str:
    answer = wake.payload["questionResponse"]
    return f"Answers to your questions (user content):\n\n{spoken(answer)}" if answer else ""


def _titled(title: str, sentence: str, value: object) -> str:
    if not value:
        return ""
    told = spoken(value) if isinstance(value, (str, dict)) else fenced_json(value)
    return f"{title}\n\n{sentence}\n\n{told}"


def _comment(number: int, comment: JsonMap) -> str:
    author = " ".join(line(comment[key]) for key in ("authorType", "authorId") if comment[key])
    head = (
        f"{number}. comment {line(comment['id'] or '(no id)')} at {line(comment['createdAt'] or '(no time)')}"
    )
    head += f" by {author}" if author else ""
    cut = "\n\n(The comment was cut here; the API has all of it.)" if comment["bodyTruncated"] else ""
    return f"{head}\n\n{comment['body']}{cut}"

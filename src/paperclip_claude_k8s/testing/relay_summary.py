"""The summary that the relay writes to a container's termination message, computed for a simulated Pod."""

import hashlib
import json
from typing import Any

from paperclip_claude_k8s.testing.pod_script import PodScript

Object = dict[str, Any]


def _result_facts(stdout: bytes) -> Object:
    """What the relay reports of the last result: all None if an init or an answer came after it.

    Also `last`: which of these kinds of event came last, "result", "init" or "answer".
    """
    facts: Object = {}
    last = None
    for event in map(_parse_event, stdout.split(b"\n")):
        if event.get("type") == "result":
            facts, last = {"is_error": False, **event}, "result"
        elif (event.get("type"), event.get("subtype")) == ("system", "init"):
            facts, last = {}, "init"
        elif event.get("type") == "assistant" and not event.get("parent_tool_use_id"):
            facts, last = {}, "answer"
    keys = {"session": "session_id", "subtype": "subtype", "is_error": "is_error", "cost": "total_cost_usd"}
    return {"last": last, **{ours: facts.get(theirs) for ours, theirs in keys.items()}}


def _parse_event(line: bytes) -> Object:
    """The JSON object from the first brace of a line on; {} if there is none."""
    try:
        event = json.loads(line[max(line.find(b"{"), 0) :])
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def relay_summary(pod: Object, stdout: bytes, pod_script: PodScript) -> str:
    """The summary of a Pod that has printed `stdout` and has ended as its script prescribes."""
    env = {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0].get("env") or []}
    counts = {"bytes": len(stdout), "lines": stdout.count(b"\n")}
    facts = {"relay": env.get("PAPERCLIP_RELAY_NONCE", ""), **counts, "exit": pod_script.exit_code}
    digest = hashlib.sha256(stdout).hexdigest()
    return json.dumps({**facts, **_result_facts(stdout), "sha256": digest, "limit": False, "copied": None})

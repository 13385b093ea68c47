"""The wake in lines: what it is about, and what holds for it."""

from paperclip_claude_k8s.plan.wake.quoting import fence, fenced_json, line
from paperclip_claude_k8s.plan.wake.view import WakeView


def overview(wake: WakeView) -> str:
    payload, issue = wake.payload, wake.payload["issue"] or {}
    recovery = payload["recovery"] or {}
    named = " ".join(line(issue[key]) for key in ("identifier", "title") if issue.get(key))
    facts = {
        "reason": payload["reason"],
        "issue": named or issue.get("id"),
        **(_comment_facts(wake) if payload["comments"] or payload["commentIds"] else {}),
        "fallback fetch needed": "yes" if payload["fallbackFetchNeeded"] else "no",
        "recovery cause": recovery.get("cause"),
        "recovered run": recovery.get("sourceRunId") or (payload["sourceRunId"] if recovery else None),
    }
    return _list(facts)


def _comment_facts(wake: WakeView) -> dict[str, object]:
    payload = wake.payload
    known = [payload["latestCommentId"], *payload["commentIds"][-1:]]
    known += [comment["id"] for comment in payload["comments"][-1:]]
    return {
        "pending comments": f"{payload['includedCount']}/{payload['requestedCount']}",
        "latest comment id": next((name for name in known if name), None),
    }


def task(wake: WakeView) -> str:
    """Status lines and the description, which is somebody's text and not an order of ours."""
    issue = wake.payload["issue"]
    if not issue:
        return ""
    lines = _list({f"issue {name}": issue[key] for name, key in _ISSUE_LINES.items()})
    return "\n\n".join(part for part in (lines, _description(wake)) if part)


_ISSUE_LINES = {"status": "status", "work mode": "workMode", "priority": "priority"}


def _description(wake: WakeView) -> str:
    issue = wake.payload["issue"]
    if not issue["description"] or wake.suppress_issue_description:
        return ""
    if wake.task_is_known:
        return "The description is left out: this session has read it."
    cut = " It was cut; the API has all of it." if issue["descriptionTruncated"] else ""
    return f"Description, as its author wrote it (user content):{cut}\n\n{fence(issue['description'])}"


def conditions(wake: WakeView) -> str:
    """What is chosen, required or forbidden on this wake."""
    payload = wake.payload
    told = [
        _selection(wake),
        _PLANNING if (payload["issue"] or {}).get("workMode") == "planning" else "",
        _branch(wake),
        _SIMPLE if payload["simplifiedEnglishInteractions"] else "",
        _blocked(wake),
        _held(wake),
        _missing(wake),
    ]
    return "\n\n".join(part for part in told if part)


_PLANNING = (
    "Work mode is planning: write or revise the plan, and change no product code. The work itself begins "
    "when the plan has been accepted."
)
_SIMPLE = "Write to people in plain, simple English: short sentences, everyday words."


def _selection(wake: WakeView) -> str:
    chosen = wake.payload["checkboxSelection"]
    return f"These boxes were ticked in answer to your question:\n\n{fenced_json(chosen)}" if chosen else ""


def _branch(wake: WakeView) -> str:
    workspace = wake.payload["executionWorkspace"]
    if wake.resumed or not workspace:
        return ""
    return (
        f"Your workspace is on branch `{workspace['branchName'].replace('`', '')}`; keep your commits there."
    )


def _blocked(wake: WakeView) -> str:
    payload = wake.payload
    waiting = payload["unresolvedBlockerSummaries"] or payload["unresolvedBlockerIssueIds"]
    if not waiting and not payload["dependencyBlockedInteraction"]:
        return ""
    rule = (
        "Other issues block this one: answer what was asked, but do not start the blocked work."
        if payload["dependencyBlockedInteraction"]
        else "These issues block this one and are not finished:"
    )
    return f"{rule}\n\n{fenced_json(waiting)}" if waiting else rule


def _held(wake: WakeView) -> str:
    hold = wake.payload["activeTreeHold"]
    if not hold and not wake.payload["treeHoldInteraction"]:
        return ""
    rule = "This issue's tree is on hold: answer what was asked, and start no work until the hold is lifted."
    return f"{rule}\n\n{fenced_json(hold)}" if hold else rule


def _missing(wake: WakeView) -> str:
    count = wake.payload["missingCount"]
    if count:
        return f"{count} more comment{'s are' if count > 1 else ' is'} not shown here; the API has them."
    return "Some of this was cut to fit; the API has all of it." if wake.payload["truncated"] else ""


def _list(facts: dict[str, object]) -> str:
    return "\n".join(f"- {name}: {line(value)}" for name, value in facts.items() if value)

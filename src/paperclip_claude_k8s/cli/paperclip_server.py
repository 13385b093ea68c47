"""The API of a Paperclip server, as far as `claude-k8s recover` uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from paperclip_claude_k8s.base.http import proxy_for, read_beginning
from paperclip_claude_k8s.base.json_readers import as_object, as_objects, as_trimmed
from paperclip_claude_k8s.base.text import neutral
from paperclip_claude_k8s.cli.run_record import RunRecord, configs_since
from paperclip_claude_k8s.cluster.labels import ADAPTER_TYPE
from paperclip_claude_k8s.plan.identity import task_id

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Longest response that is read: the runs of one agent, with their results."""
RUNS_PER_AGENT = 100
"""Newest runs of each agent that are examined."""
HOLD_CAUSES = frozenset(
    {"legacy_execution_requires_reconciliation", "execution_finalization_deadline_exceeded"}
)
"""The server's causes for holding a task: it gave up the task's run without a record of how the run ended, or
was killed after it had received the run's result and before it had stored the result."""
ENDED_WITHOUT_RESULT = frozenset({"failed", "interrupted", "timed_out", "cancelled"})
"""The server's statuses of runs that ended without a result."""


class ServerRefused(Exception):
    """A request failed; the text names the request and the reason, without the token."""


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task that the server holds because it has no record of how the task's last run ended.

    `company`, `issue` (the task), `agent` and `run` are ids.
    """

    company: str
    issue: str
    title: str
    agent: str
    agent_name: str
    config: Mapping[str, Any]
    """Settings of the agent; only those that name a cluster and a namespace are used."""
    run: str
    error_code: str
    action: str
    """Id of the server's recovery action; "" if the server does not return one."""
    task: str = ""
    """The id by which the run's Job is labelled; in most cases that of the issue."""
    record: RunRecord = field(default_factory=RunRecord)


class PaperclipServer:
    """Requests to one server. `token`: API key of a board member; "" for a server without logins."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, env: Mapping[str, str]) -> None:
        self._session = session
        self._api = f"{url.rstrip('/').removesuffix('/api')}/api"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._proxy = proxy_for(self._api, env)

    async def held_tasks(self) -> list[HeldTask]:
        """All tasks of this adapter's agents that the server holds. Raises `ServerRefused`."""
        found: list[HeldTask] = []
        for company in as_objects(await self._call("GET", "/companies")):
            agents = as_objects(await self._call("GET", f"/companies/{_id(company)}/agents"))
            for agent in agents:
                if agent.get("adapterType") == ADAPTER_TYPE:
                    found += await self._held_of_agent(_id(company), agent)
        return found

    async def release(self, task: HeldTask, evidence: str, *, completed: bool) -> None:
        """Report how the run ended, so that the server starts the task's next run. Raises `ServerRefused`."""
        decision = {
            "runId": task.run,
            "providerStopped": True,
            "actionOutcome": "completed" if completed else "mixed",
            "outcomeEvidence": evidence,
        }
        body: dict[str, Any] = {
            "outcome": "restored",
            "sourceIssueStatus": "todo",
            "executionReconciliation": decision,
            "resolutionNote": evidence,
        }
        if task.action:
            body["actionId"] = task.action
        await self._call("POST", f"/issues/{quote(task.issue, safe='')}/recovery-actions/resolve", body)

    async def _held_of_agent(self, company: str, agent: Mapping[str, Any]) -> list[HeldTask]:
        path = f"/companies/{company}/heartbeat-runs?agentId={_id(agent)}&limit={RUNS_PER_AGENT}"
        newest: dict[str, Mapping[str, Any]] = {}
        for run in as_objects(await self._call("GET", path)):
            issue = as_trimmed(as_object(run.get("contextSnapshot")).get("issueId"))
            if issue:
                newest.setdefault(issue, run)  # the server lists the newest run first
        held = [
            await self._held_task(company, agent, issue, _id(run))
            for issue, run in newest.items()
            if run.get("status") in ENDED_WITHOUT_RESULT
        ]
        return [task for task in held if task is not None]

    async def _held_task(
        self, company: str, agent: Mapping[str, Any], issue: str, run_id: str
    ) -> HeldTask | None:
        run = as_object(await self._call("GET", f"/heartbeat-runs/{run_id}"))
        if as_object(run.get("execution")).get("cause") not in HOLD_CAUSES:
            return None
        task = as_object(await self._call("GET", f"/issues/{quote(issue, safe='')}"))
        if task.get("status") in {"done", "cancelled"}:
            return None
        return HeldTask(
            company=company,
            issue=issue,
            title=neutral(
                " ".join(filter(None, map(as_trimmed, (task.get("identifier"), task.get("title")))))
            ),
            agent=_id(agent),
            agent_name=neutral(as_trimmed(agent.get("name")) or ""),
            config=as_object(agent.get("adapterConfig")),
            run=run_id,
            error_code=as_trimmed(run.get("errorCode")) or "",
            action=await self._action_of(issue, run_id),
            task=task_id(as_object(run.get("contextSnapshot"))) or issue,
            record=await self._record_of(run_id, run.get("createdAt"), agent),
        )

    async def _record_of(self, run_id: str, began: object, agent: Mapping[str, Any]) -> RunRecord:
        """Where the run's Job is; what the server refuses to return is missing."""
        try:
            record = RunRecord.of_events(await self._events_of(run_id))
            if record.is_complete:
                return record
            revisions = as_objects(await self._call("GET", f"/agents/{_id(agent)}/config-revisions"))
        except ServerRefused:
            return RunRecord()
        earlier = configs_since(began, revisions)
        if earlier is None:
            return record
        return record.completed_by([as_object(agent.get("adapterConfig")), *earlier])

    async def _events_of(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        return as_objects(await self._call("GET", f"/heartbeat-runs/{run_id}/events?limit=1000"))

    async def _action_of(self, issue: str, run_id: str) -> str:
        """The id of the recovery action. After the server has closed the action, only events have its id."""
        actions = as_object(await self._call("GET", f"/issues/{quote(issue, safe='')}/recovery-actions"))
        active = as_object(actions.get("active"))
        if active.get("cause") in HOLD_CAUSES:
            return _id(active)
        payloads = [as_object(event.get("payload")) for event in await self._events_of(run_id)]
        ids = [
            as_trimmed(payload.get("recoveryActionId"))
            for payload in payloads
            if payload.get("cause") in HOLD_CAUSES
        ]
        return next((action_id for action_id in reversed(ids) if action_id), "")

    async def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # any JSON
        what = f"{method} {path.partition('?')[0]}"
        headers = {**self._headers, "Content-Type": "application/json"}
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method, self._api + path, data=data, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                text = await read_beginning(response.content, MAX_BODY_BYTES)
        except aiohttp.InvalidURL:  # its text is the address, which may contain a password
            raise ServerRefused(f"{what}: the address of the server is invalid") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerRefused(f"{what}: {type(error).__name__} {error}") from None
        if len(text) > MAX_BODY_BYTES:
            raise ServerRefused(f"{what}: the response is too long")
        if response.status >= 300:
            raise ServerRefused(
                f"{what}: HTTP {response.status} {neutral(text[:300].decode('utf-8', 'replace'))}"
            )
        try:
            return orjson.loads(text)
        except ValueError:
            raise ServerRefused(f"{what}: the response is not JSON") from None


def _id(thing: Mapping[str, Any]) -> str:
    return quote(as_trimmed(thing.get("id")) or "", safe="")

"""Clients for the API of the real Paperclip server and for the cluster."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

Json = Any
FINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled", "timed_out", "interrupted"})
API_GROUPS = {
    "pods": "api/v1",
    "secrets": "api/v1",
    "jobs": "apis/batch/v1",
    "leases": "apis/coordination.k8s.io/v1",
}
"""Kind of object that runs create → path of its API group."""
POLL_INTERVAL = 0.2
"""Seconds between two requests."""


class CheckFailed(Exception):
    """A condition of a check is not met."""


def expect(condition: object, what: str, actual: object = None) -> None:
    """Raise `CheckFailed` with what was expected and the actual value, unless the condition is true."""
    if not condition:
        raise CheckFailed(what if actual is None else f"{what}; got: {json.dumps(actual, default=str)[:600]}")


@dataclass(frozen=True, slots=True)
class Paperclip:
    """A client for one company on the server."""

    http: aiohttp.ClientSession
    api: str
    company: str

    @classmethod
    @asynccontextmanager
    async def at(cls, api: str) -> AsyncIterator["Paperclip"]:
        """Create a company on the server at this URL."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as http:
            bare = cls(http, api, "")
            company = await bare.call("POST", "/companies", {"name": "Proof"})
            yield cls(http, api, company["id"])

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, Json]:
        """Return status and body of the response, even if it is an error."""
        async with self.http.request(method, self.api + path, json=body) as response:
            text = await response.text()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    async def call(self, method: str, path: str, body: object = None) -> Json:
        """Return the body of a successful response; raise `CheckFailed` after an error."""
        status, response = await self.request(method, path, body)
        expect(status < 300, f"{method} {path} → {status}", response)
        return response

    async def create_agent(self, name: str, kind: str, config: Mapping[str, Any]) -> str:
        """Create an agent and return its id."""
        fields = {"name": name, "role": "engineer", "adapterType": kind, "adapterConfig": dict(config)}
        no_heartbeat = {"runtimeConfig": {"heartbeat": {"enabled": False}}}
        return str(
            (await self.call("POST", f"/companies/{self.company}/agents", {**fields, **no_heartbeat}))["id"]
        )

    async def assign(self, agent: str, title: str) -> str:
        """Create an issue that is assigned to the agent, which starts a run, and return its id."""
        fields = {"title": title, "description": "Do the thing.", "status": "todo", "priority": "medium"}
        issue = await self.call(
            "POST", f"/companies/{self.company}/issues", {**fields, "assigneeAgentId": agent}
        )
        return str(issue["id"])

    async def runs(self, agent: str) -> list[Json]:
        """Return the agent's runs, oldest first."""
        runs = await self.call("GET", f"/companies/{self.company}/heartbeat-runs?agentId={agent}")
        return list(reversed(runs))

    async def run(self, run: str) -> Json:
        return await self.call("GET", f"/heartbeat-runs/{run}")

    async def log(self, run: str) -> str:
        """Return the whole log of the run, with both streams."""
        log = await self.call("GET", f"/heartbeat-runs/{run}/log?limitBytes=1000000")
        return "".join(json.loads(line)["chunk"] for line in log["content"].splitlines() if line)

    async def nth_run(self, agent: str, n: int, limit: float) -> Json:
        """Wait at most `limit` seconds until the agent has `n` runs; return the n-th, in any status."""
        runs = await eventually(lambda: self.runs(agent), lambda runs: len(runs) >= n, f"run {n}", limit)
        return runs[n - 1]

    async def wait_for_end(self, run: str, limit: float) -> Json:
        """Wait at most `limit` seconds until the run has ended; return it."""
        return await eventually(
            lambda: self.run(run), lambda record: record["status"] in FINAL_STATUSES, "the run's end", limit
        )

    async def comments(self, issue: str) -> list[str]:
        return [comment["body"] for comment in await self.call("GET", f"/issues/{issue}/comments")]


async def eventually(
    read: Callable[[], Any], accept: Callable[[Json], object], what: str, limit: float
) -> Json:
    """Call `read` until its value is accepted; raise `CheckFailed` after `limit` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + limit
    while not accept(value := await read()):
        expect(loop.time() < until, f"{what} within {limit:.0f}s", value)
        await asyncio.sleep(POLL_INTERVAL)
    return value


@dataclass(frozen=True, slots=True)
class Pods:
    """Reads and deletes Pods and Jobs of the cluster without using the adapter's code."""

    http: aiohttp.ClientSession
    kubeconfig: Path

    async def of_run(self, run: str, kind: str = "pods") -> list[Json]:
        """Return the run's Pods, or its Jobs if `kind` is "jobs"."""
        return await self.all_of(kind, {"labelSelector": f"paperclip.io/run-id={run}"})

    async def all_of(self, kind: str, query: Mapping[str, str] | None = None) -> list[Json]:
        """Return all objects of a kind in the namespace of the agents, or those that the query selects."""
        async with self._request("GET", kind, query) as response:
            items: list[Json] = (await response.json())["items"]
            return items

    async def delete_jobs_of_run(self, run: str) -> None:
        """Delete the run's Jobs and the objects that they own."""
        for job in await self.of_run(run, "jobs"):
            path = f"jobs/{job['metadata']['name']}"
            async with self._request("DELETE", path, {"propagationPolicy": "Background"}) as response:
                response.raise_for_status()

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Make a request in the agents' namespace. `path` begins with a key of `API_GROUPS`."""
        config = json.loads(self.kubeconfig.read_text())
        server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
        url = f"{server}/{API_GROUPS[path.partition('/')[0]]}/namespaces/paperclip/{path}"
        return self.http.request(
            method, url, params=query or {}, headers={"Authorization": f"Bearer {token}"}
        )

    async def wait_until_running(self, run: str, limit: float) -> None:
        """Wait at most `limit` seconds until a Pod of the run is running."""
        await eventually(
            lambda: self.of_run(run),
            lambda pods: any(pod.get("status", {}).get("phase") == "Running" for pod in pods),
            "a running Pod",
            limit,
        )

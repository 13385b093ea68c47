"""The relay starts the agent, unless the run Secret names another Pod as the only one that may do so."""

import asyncio
from dataclasses import replace

import pytest
from tests.support.plans import a_plan

from paperclip_claude_k8s import relay
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.labels import ONLY_POD_KEY
from paperclip_claude_k8s.cluster.model import Terminated
from paperclip_claude_k8s.devcluster import DevCluster
from paperclip_claude_k8s.plan.manifest import job_manifest, secret_manifest


async def wait_for_end(gateway: Gateway, namespace: str, job: str) -> Terminated:
    """Wait until the agent's container has ended, and return how."""
    async with asyncio.timeout(120):
        while True:
            for pod in (await gateway.list_pods(namespace, {"job-name": job})).items:
                agent = pod.agent
                if agent is not None and isinstance(agent.state, Terminated):
                    return agent.state
            await asyncio.sleep(0.1)


NO_POD = None


@pytest.mark.parametrize("only_pod", ["another-pod", NO_POD])
async def test_agent_starts_unless_the_secret_names_another_pod(only_pod: str | None) -> None:
    async with DevCluster.start() as cluster:
        gateway = Gateway(str(cluster.kubeconfig))
        plan = a_plan(home=None, image="local/agent:1", env={"CLAUDE_SCRIPT": "exit 5"})
        plan = replace(plan, namespace=cluster.namespace)
        job = await gateway.create_job(plan.namespace, job_manifest(plan))
        secret = secret_manifest(plan, job.ref)
        named = {} if only_pod is NO_POD else {ONLY_POD_KEY: only_pod}
        secret["stringData"] = {**plan.secret_data, **named}
        await gateway.create_secret(plan.namespace, secret)
        ended = await wait_for_end(gateway, plan.namespace, job.ref.name)
        await gateway.close()
    summary = relay.read_summary(ended.message, plan.nonce)
    assert summary is not None
    assert summary.exit_code == ended.exit_code == (5 if only_pod is NO_POD else relay.NOT_ONLY_POD_CODE)

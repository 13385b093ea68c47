"""Is the API server new enough for what was asked? Looked up only where something asks."""

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.requirements import requirements, unmet
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator


async def check_requirements(config: AdapterConfig, ports: Ports, say: Narrator) -> None:
    """Raises RunFailure `k8s_config_invalid`, naming the setting and both versions."""
    if not requirements(config):
        return
    call = Retrier(ports.settings.timings, say)
    try:
        version = await call("read version", ports.cluster.server_version)
    except ClusterError as error:
        names = ", ".join(setting for setting, _ in requirements(config))
        await say.warn(f"The API server's version could not be read ({error}); {names} may have no effect")
        return
    for setting, least in unmet(config, version):
        raise RunFailure(failures.server_too_old(setting, least, version))

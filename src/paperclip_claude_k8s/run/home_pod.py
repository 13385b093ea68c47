"""Find the Pod of this process, the home pod, from which Jobs inherit image, environment and volumes.

Its name is in POD_NAME if the Pod's author passed it there, else in the token of its service account (since
Kubernetes 1.21), else in HOSTNAME. In Pods with `hostNetwork`, HOSTNAME is the name of the node. In
other Pods, HOSTNAME has only the first 63 characters of the Pod's name.

With a kubeconfig and an image no home pod is needed. If there is a home pod in the Job's cluster and
namespace, Jobs inherit from it all the same. In another namespace its claims, Secrets and ConfigMaps would be
missing.
"""

from dataclasses import replace

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.cluster.model import HomeMount, HomePod
from paperclip_claude_k8s.cluster.port import ClusterError
from paperclip_claude_k8s.cluster.retrying import Retrier
from paperclip_claude_k8s.failures import Failure, RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.plan.paths import POD_HOME
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.narrate import Narrator

HOME_CONTAINER = "paperclip"
"""Name of the host's container in the home pod; without one of that name, the first container is used."""
MAX_HOSTNAME = 63
"""Characters after which Kubernetes cuts a Pod's name in HOSTNAME."""
_POD_VARIABLES = ("POD_NAME", "KUBERNETES_SERVICE_HOST")
"""Variables that show that this process runs in a Pod."""


async def find_home_pod(
    config: AdapterConfig, namespace: str, job_namespace: str, ports: Ports, narrator: Narrator
) -> HomePod | None:
    """Read the home pod in `namespace`; None if there is none, and none is needed.

    Raises RunFailure `k8s_home_pod_unavailable`: it is needed, and cannot be read or does not exist.
    """
    env = ports.settings.env
    needed = not (config.kubeconfig and config.image)
    # without a kubeconfig, this process reaches the cluster by the service account of its own Pod
    in_pod = config.kubeconfig is None or any(env.get(name) for name in _POD_VARIABLES)
    names: list[str] = []
    try:
        from_token = await ports.cluster.own_pod() if config.kubeconfig is None else ""
        candidates = (env.get("POD_NAME", ""), from_token, env.get("HOSTNAME", ""))
        names = [name for name in dict.fromkeys(candidates) if name]
        home = await _find(names, namespace, ports, narrator, needed=needed)
    except ClusterError as error:
        if needed:
            which = f"{namespace}/{names[0] if names else '(unknown)'}"
            failure = failures.home_pod_unavailable(which, str(error), error)
            raise RunFailure(failure) from None
        if in_pod:
            await narrator.warn(f"Nothing is inherited from the home pod: {error}")
        return None
    if home is None and needed:
        raise RunFailure(_missing(names, namespace, in_pod=in_pod))
    if home is not None and not needed and job_namespace != home.namespace:
        await narrator.status(f"Nothing is inherited from the home pod: it is in namespace {home.namespace}")
        return None
    return home


async def _find(
    names: list[str], namespace: str, ports: Ports, narrator: Narrator, *, needed: bool
) -> HomePod | None:
    for name in names:
        if (home := await _read(name, namespace, ports, narrator, patient=needed)) is not None:
            return home
    return await _read_by_beginning(names, namespace, ports, narrator) if needed else None


async def _read(
    name: str, namespace: str, ports: Ports, narrator: Narrator, *, patient: bool
) -> HomePod | None:
    """`patient`: repeat the call while the API server does not answer."""
    if not patient:
        return await ports.cluster.home_pod(namespace, name, HOME_CONTAINER)
    call = Retrier(ports.settings.timings, narrator)
    return await call("read home pod", lambda: ports.cluster.home_pod(namespace, name, HOME_CONTAINER))


async def _read_by_beginning(
    names: list[str], namespace: str, ports: Ports, narrator: Narrator
) -> HomePod | None:
    """The Pod whose name begins with a name of 63 characters; None if no Pod or several Pods match."""
    beginning = next((name for name in names if len(name) == MAX_HOSTNAME), None)
    if beginning is None:
        return None
    call = Retrier(ports.settings.timings, narrator)
    pods = await call("list pods", lambda: ports.cluster.list_pods(namespace, {}))
    found = [pod.name for pod in pods.items if pod.name.startswith(beginning)]
    return await _read(found[0], namespace, ports, narrator, patient=True) if len(found) == 1 else None


def _missing(names: list[str], namespace: str, *, in_pod: bool) -> Failure:
    if not names or not in_pod:
        return failures.home_pod_unavailable("", "this process does not run in a Pod of this cluster")
    return failures.home_pod_unavailable(f"{namespace}/{names[0]}", "there is no such Pod")


def with_claim(home: HomePod | None, claim: str) -> HomePod:
    """The home pod with all its claims replaced by this one, which is mounted at HOME.

    Without a home pod, an empty one, of which nothing but the claim is inherited.
    """
    mount = HomeMount(POD_HOME, {"name": "home", "persistentVolumeClaim": {"claimName": claim}})
    if home is None:
        return HomePod(namespace="", name="", image="", claim_name=claim, mounts=(mount,))
    others = (other for other in home.mounts if "persistentVolumeClaim" not in other.volume)
    return replace(home, claim_name=claim, mounts=(mount, *others))

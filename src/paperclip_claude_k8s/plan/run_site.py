"""Where a run happens: facts that `run/prepare.py` looks up before the run is planned."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paperclip_claude_k8s.cluster.model import HomePod
from paperclip_claude_k8s.plan.bundle import Packed
from paperclip_claude_k8s.plan.session_volume import UNKNOWN_CLAIM, ClaimFacts
from paperclip_claude_k8s.plan.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RunSite:
    namespace: str
    image: str
    home: HomePod | None
    process_env: Mapping[str, str]
    """The environment of this process."""
    nonce: str
    """Random text that distinguishes the relay's marks from the agent's output."""
    volume_here: str | None = None
    """Mount point of the shared volume in this process's file system; None if it is not mounted here."""
    packed: Packed = field(default_factory=Packed)
    """The prompt bundle, with its paths in the Pod."""
    mcp_baseline: Mapping[str, object] = field(default_factory=dict, repr=False)
    """MCP servers by name, from the baseline file on the shared volume."""
    session_claim: ClaimFacts = UNKNOWN_CLAIM
    """What is known of the claim that `sessionVolume` names, or creates if it is auto."""
    workspace: Workspace | None = None
    """How the project's files come into the Pod; None: not decided, because the plan is only examined."""
    company_folder: str = ""
    """The only folder of the shared volume that the Pod mounts; "" if it mounts the whole volume."""

"""The settings of the session volume: where an agent's sessions outlive its Pods."""

import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator

from paperclip_claude_k8s.host.quantity import parse_bytes
from paperclip_claude_k8s.host.validators import Str, choice

SHARED: Final = "shared"
AUTO: Final = "auto"
NONE: Final = "none"
"""Values of `sessionVolume`; any other value is the name of an existing claim."""
_CLAIM_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_MAX_CLAIM_NAME = 253


def _read_session_volume(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > _MAX_CLAIM_NAME or not _CLAIM_NAME.fullmatch(text):
        raise ValueError("shared, auto, none, or the name of a claim")
    return text


def _read_size(value: object) -> str:
    try:
        size = parse_bytes(value)
    except ValueError:
        size = 0
    if size <= 0:
        raise ValueError("a quantity of bytes above 0, such as 10Gi")
    return str(value).strip()


class SessionVolumeSettings(BaseModel):
    """The settings whose names begin with `sessionVolume`. `settings.toml` documents them."""

    session_volume: Annotated[str, BeforeValidator(_read_session_volume)] = SHARED
    session_volume_per: Annotated[Literal["agent", "company"], choice("agent", "company")] = "agent"
    session_volume_size: Annotated[str, BeforeValidator(_read_size)] = "10Gi"
    session_volume_class: Str | None = None
    session_volume_access_mode: Annotated[
        Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"],
        choice("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"),
    ] = "ReadWriteOnce"

    @property
    def session_claim_name(self) -> str | None:
        """The existing claim that `sessionVolume` names; None if it names none."""
        return None if self.session_volume in {SHARED, AUTO, NONE} else self.session_volume

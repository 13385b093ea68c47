"""Reads the policy from the file that CLAUDE_K8S_POLICY names."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from paperclip_claude_k8s.base.host_files import HostFileError, read_host_file_now
from paperclip_claude_k8s.host.policy import POLICY_VARIABLE, Policy, PolicyInvalid

POLICY_BYTES = 256 * 1024
"""Largest size of a policy; a long list of images has a few kilobytes."""


def read_policy(env: Mapping[str, str]) -> Policy:
    """Return the policy of this host, by default `Policy()`. Blocks while it reads the file.

    Raises:
        PolicyInvalid: the file cannot be read or is no policy. The message names the file and the cause.
    """
    path = env.get(POLICY_VARIABLE, "").strip()
    if not path:
        return Policy()
    try:
        content = read_host_file_now(path, limit=POLICY_BYTES).content
        return Policy.read(_parse(content))
    except (HostFileError, PolicyInvalid, yaml.YAMLError, RecursionError, ValueError) as error:
        raise PolicyInvalid(f"{path}: {' '.join(str(error).split())[:500]}") from None


def _parse(content: bytes) -> dict[str, Any]:
    """Read JSON, or else YAML: the YAML parser alone would refuse JSON with tabs."""
    try:
        parsed: dict[str, Any] = json.loads(content)
    except ValueError:
        parsed = yaml.safe_load(content)
    return parsed  # of any type: `Policy.read` checks it

"""Reads the policy from the file that CLAUDE_K8S_POLICY names."""

import json
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from paperclip_claude_k8s.base.host_files import HostFileError, read_host_file_now
from paperclip_claude_k8s.base.unique_keys import DuplicateKeyError, object_of
from paperclip_claude_k8s.host.policy import POLICY_VARIABLE, Policy, PolicyInvalid

POLICY_BYTES = 256 * 1024
"""Largest size of a policy; a long list of images has a few kilobytes."""


def read_policy(env: Mapping[str, str]) -> Policy:
    """Return the policy of this host, by default `Policy()`. Blocks while it reads the file.

    Raises:
        PolicyInvalid: the file cannot be read or is no policy. The message names the file and the cause.
    """
    given = env.get(POLICY_VARIABLE)
    if given is None:
        return Policy()
    path = given.strip()
    if not path:
        raise PolicyInvalid(f"{POLICY_VARIABLE} is empty: set it to the path of a file, or unset it")
    try:
        content = read_host_file_now(path, limit=POLICY_BYTES).content
        return Policy.read(_parse(content))
    except (HostFileError, PolicyInvalid, yaml.YAMLError, RecursionError, ValueError) as error:
        raise PolicyInvalid(f"{path}: {' '.join(str(error).split())[:500]}") from None


def _parse(content: bytes) -> dict[str, Any]:
    """Read JSON, or else YAML: the YAML parser alone would refuse JSON with tabs."""
    try:
        parsed: dict[str, Any] = json.loads(content, object_pairs_hook=object_of)
    except DuplicateKeyError:
        raise
    except ValueError:
        parsed = yaml.load(content, _Loader)  # noqa: S506  # a safe loader
    return parsed  # of any type: `Policy.read` checks it


class _Loader(yaml.SafeLoader):
    """A loader that refuses mappings with duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  # as PyYAML calls it
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        object_of([(key, None) for key in keys if isinstance(key, Hashable)])
        return super().construct_mapping(node, deep)

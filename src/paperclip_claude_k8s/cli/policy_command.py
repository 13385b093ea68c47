"""`claude-k8s policy`: the policy in force, as text that can be used as a policy file."""

import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby

from paperclip_claude_k8s.cli.entry import DONE, FAILED, print_failure, print_text
from paperclip_claude_k8s.host.policy import POLICY_VARIABLE, Policy, PolicyInvalid
from paperclip_claude_k8s.host.policy_fields import POLICY_FIELDS, PolicyField
from paperclip_claude_k8s.host.policy_file import read_policy

_DEFAULT = Policy()
_WIDTH = 100


def policy(env: Mapping[str, str] = os.environ) -> int:
    """Print the policy. Exit code 1, and one line on stderr, if the policy cannot be used."""
    try:
        in_force = read_policy(env)
    except PolicyInvalid as error:
        return print_failure({"status": "failed", "error": "policy", "detail": str(error)}, FAILED)
    print_text("\n".join(_lines(in_force, env.get(POLICY_VARIABLE, "").strip())))
    return DONE


def _lines(in_force: Policy, file: str) -> Iterator[str]:
    yield f"# From {file}" if file else f"# {POLICY_VARIABLE} is not set: these are the defaults"
    for group, fields in groupby(POLICY_FIELDS, key=lambda field: field.group):
        yield f"\n# ── {group} ──"
        for field in fields:
            yield ""
            yield from _comment(field)
            yield f"{field.key}: {_value(in_force, field)}"


def _comment(field: PolicyField) -> Iterator[str]:
    plain = re.sub(r"`([^`]*)`", r"\1", f"{field.effect} Default {_value(_DEFAULT, field)}: {field.reason}")
    return (
        f"# {line}" for line in textwrap.wrap(plain, _WIDTH, break_on_hyphens=False, break_long_words=False)
    )


def _value(policy: Policy, field: PolicyField) -> str:
    return json.dumps(policy.to_wire()[field.key], ensure_ascii=False)

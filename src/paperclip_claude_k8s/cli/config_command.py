"""`claude-k8s config`: write a template of a file for `--config`, or check such a file without a cluster."""

import os
import textwrap
from collections.abc import Iterator
from functools import partial
from itertools import groupby

from paperclip_claude_k8s.cli.entry import DONE, FAILED, USAGE, print_failure, print_reply, print_text
from paperclip_claude_k8s.cli.formats import Format
from paperclip_claude_k8s.cli.options import OptionsInvalid, merge_config
from paperclip_claude_k8s.cli.runs import quota_gate
from paperclip_claude_k8s.cli.runs.replies import Reply, Stop, failure
from paperclip_claude_k8s.cli.setup_options import ConfigCheckOptions, ConfigInitOptions
from paperclip_claude_k8s.host.config import AdapterConfig, ConfigInvalid
from paperclip_claude_k8s.host.config_admission import config_refusals
from paperclip_claude_k8s.host.fields import SETTINGS, Setting
from paperclip_claude_k8s.host.form import shown_default
from paperclip_claude_k8s.host.policy import Policy, PolicyInvalid
from paperclip_claude_k8s.host.policy_file import read_policy
from paperclip_claude_k8s.host.unknown_settings import describe_unknown_keys

WIDTH = 100
"""Longest line of a comment, in characters."""
_USUAL_SETTINGS = frozenset({"image", "namespace", "timeout_sec", "env", "memory_limit", "claim_name"})
"""Settings that most files have, besides those that a form shows first."""


def init(options: ConfigInitOptions) -> int:
    """Print or write a YAML file with settings as comments: with `--all` all of them, else the usual ones.

    Exit code 1: the file exists already, or cannot be written.
    """
    content = "\n".join(_template(include_all=options.all))
    if options.out is None:
        print_text(content)
        return DONE
    try:
        with options.out.expanduser().open("x", encoding="utf-8") as file:
            file.write(f"{content}\n")
    except FileExistsError:
        return print_failure(failure("usage", f"--out {options.out} exists: name a new file"), as_reply=True)
    except OSError as error:
        reply = {
            "status": "failed",
            "error": "not_written",
            "detail": f"{options.out}: {error.strerror or error}",
        }
        return print_failure(reply, as_reply=True)
    next_command = f"claude-k8s config check {options.out}"
    return print_reply({"status": "written", "file": str(options.out), "check": next_command}, DONE)


def _template(*, include_all: bool) -> Iterator[str]:
    yield "# Settings of an agent, for claude-k8s run --config FILE. Remove the # before those that you set."
    yield "# claude-k8s explain KEY explains a setting, claude-k8s config check FILE finds mistakes."
    shown = [
        setting
        for setting in SETTINGS
        if include_all or setting.form == "basic" or setting.name in _USUAL_SETTINGS
    ]
    for group, settings in groupby(shown, key=lambda setting: setting.group):
        yield f"\n# ── {group} ──"
        for setting in settings:
            yield ""
            yield from _comment(setting)


def _comment(setting: Setting) -> Iterator[str]:
    hint = setting.hint.replace("`", "")
    yield from (f"# {line}" for line in textwrap.wrap(hint, WIDTH, break_on_hyphens=False))
    yield f"# {setting.key}: {shown_default(setting)}".rstrip()


def check(options: ConfigCheckOptions) -> int:
    """Report what is wrong with a file.

    Exit code 0: the file can be used. 1: it has errors. 2: it cannot be read.
    """
    try:
        settings = merge_config(options.file, {})
    except OptionsInvalid as invalid:
        return print_reply(failure("usage", str(invalid)), USAGE, options.output_format)
    warnings = [f"unknown setting {key}" for key in describe_unknown_keys(_without_quota_gate(settings))]
    errors = list(_errors(settings))
    errors += warnings if options.strict else []
    reply: Reply = {
        "status": "failed" if errors else "valid",
        "file": str(options.file),
        "errors": errors,
        "warnings": [] if options.strict else warnings,
    }
    if errors:
        reply |= {"error": "config", "detail": "; ".join(errors)}
    return print_reply(reply, FAILED if errors else DONE, options.output_format, partial(_text, reply))


def _without_quota_gate(settings: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if key not in quota_gate.URL_KEYS}


def _errors(settings: dict[str, object]) -> Iterator[str]:
    """The reasons for which each run with these settings would fail before it has a Job."""
    try:
        quota_gate.gate_url(settings)
    except Stop as stop:
        yield stop.detail
    try:
        config = AdapterConfig.read(_without_quota_gate(settings))
    except ConfigInvalid as invalid:
        yield str(invalid)
        return
    try:
        policy = read_policy(os.environ)
    except PolicyInvalid as invalid:
        yield f"policy {invalid}"
        return
    yield from _refusals(config, policy)


def _refusals(config: AdapterConfig, policy: Policy) -> Iterator[str]:
    for refusal in config_refusals(config, policy):
        field = f" (policy: {refusal.field})" if refusal.field else ""
        yield f"config.{refusal.key}: {refusal.rule}{field}"


def _text(reply: Reply, _output: Format) -> str:
    lines = [f"warning: {warning}" for warning in reply["warnings"]]
    return "\n".join([*lines, *([] if reply["errors"] else [f"{reply['file']} is valid"])])

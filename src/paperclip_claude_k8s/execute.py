"""One run, as a table of contents."""

from collections.abc import Mapping
from typing import Any

from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.host.result import ExecutionResult
from paperclip_claude_k8s.plan.planning import plan_run
from paperclip_claude_k8s.ports import Ports
from paperclip_claude_k8s.run.launch import launch
from paperclip_claude_k8s.run.narrate import Narrator
from paperclip_claude_k8s.run.observe import observe
from paperclip_claude_k8s.run.prepare import find_setting, identity_of, read_config, tell_ignored
from paperclip_claude_k8s.run.tend import tended

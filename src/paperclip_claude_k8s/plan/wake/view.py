"""A normalized payload together with how it is to be told."""

from dataclasses import dataclass

from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.plan.wake.wake_reasons import is_assignment_shaped, is_recovery_wake


@dataclass(frozen=True, slots=True)
class WakeView:
    """`payload` is normalized: every key of it is there."""

    payload: JsonMap
    resumed: bool = False
    conversation: bool = False
    suppress_issue_description: bool = False
    include_execution_contract: bool = False

    @property
    def recovery(self) -> bool:
        return is_recovery_wake(self.payload)

    @property
    def task_is_known(self) -> bool:
        """A resumed session has read the task, unless this wake hands it over anew."""
        return self.resumed and not self.recovery and not is_assignment_shaped(self.payload["reason"])

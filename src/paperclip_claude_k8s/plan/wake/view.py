"""A wake payload together with how the prompt presents it."""

from dataclasses import dataclass

from paperclip_claude_k8s.plan.wake.payload import WakePayload


@dataclass(frozen=True, slots=True)
class WakeView:
    payload: WakePayload
    resumed: bool = False
    """The session was resumed, so the agent knows what earlier wakes said."""
    conversation: bool = False
    """The run answers in a conversation, whose template says how to end it."""
    suppress_issue_description: bool = False
    """The prompt holds the task's text elsewhere."""
    include_execution_contract: bool = False
    """No other part of the prompt says how to end the run."""

    @property
    def task_is_known(self) -> bool:
        """Whether the session has read the task, and this wake does not hand it over anew."""
        return self.resumed and not self.payload.hands_over_task

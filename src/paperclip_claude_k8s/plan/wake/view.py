"""A wake payload together with how the prompt presents it."""

from dataclasses import dataclass

from paperclip_claude_k8s.plan.wake.payload import WakePayload


@dataclass(frozen=True, slots=True)
class WakeView:
    payload: WakePayload
    resumed: bool = False
    """The session was resumed, so the agent knows earlier wake prompts."""
    conversation: bool = False
    """The run answers in a conversation; the template for conversations says how to end it."""
    suppress_issue_description: bool = False
    """The prompt holds the task's text elsewhere."""
    include_execution_contract: bool = False
    """The wake prompt must say how to end the run, because no other part of the prompt does."""

    @property
    def task_is_known(self) -> bool:
        """Whether the session has read the task, and this wake does not hand it over again."""
        return self.resumed and not self.payload.hands_over_task

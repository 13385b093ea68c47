"""Why the agent was woken: the host's wake payload, read once, and the prompt text that presents it.

`payload.py` reads the JSON into a `WakePayload`; `view.py` adds how to present it (fresh or resumed session).
`wake_prompt.py` joins the sections. Each section is a function from a view to text, "" to leave it out:
`contracts.py` holds what is asked of the agent, `sections.py` states facts, `conversation.py` quotes people
and other agents. Quoted texts may contain instructions, so `quoting.py` puts a fence around them.
"""

from paperclip_claude_k8s.plan.wake.payload import WakePayload, read_wake_payload, stringify_wake_payload
from paperclip_claude_k8s.plan.wake.view import WakeView
from paperclip_claude_k8s.plan.wake.wake_prompt import render_wake_prompt

__all__ = ["WakePayload", "WakeView", "read_wake_payload", "render_wake_prompt", "stringify_wake_payload"]

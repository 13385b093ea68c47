"""What to do after each class of failure, and after which classes the session is given up."""

from paperclip_claude_k8s.claude.known_texts import FailureClass

NEXT_STEPS: dict[FailureClass, str] = {
    FailureClass.AUTH_REQUIRED: "give the agent a valid API key or login",
    FailureClass.QUOTA: "wait until the limit resets, or use another account",
    FailureClass.TRANSIENT: "try again later",
    FailureClass.THROTTLED: "try again later",
    FailureClass.UNTRUSTED_CERTIFICATE: (
        "put the certificate of your company's CA into a file in the Pod, and the file's path into "
        "the variable NODE_EXTRA_CA_CERTS (`env`); have an expired certificate renewed"
    ),
    FailureClass.CREDIT_EXHAUSTED: "add credit to the API account",
    FailureClass.MODEL_NOT_FOUND: "correct `model`, or request access to it",
    FailureClass.PROMPT_TOO_LONG: "start a fresh session or send less",
    FailureClass.MAX_BUDGET: "raise maxCostUsdPerRun, or the budget given in extraArgs",
    FailureClass.MAX_OUTPUT: "ask for less at once",
    FailureClass.CONTEXT_WINDOW: (
        "the conversation fills the model's context window: start a fresh session or send less"
    ),
    FailureClass.REFUSAL: "rephrase the task; the next run starts a fresh session",
    FailureClass.CONTENT_FILTER: "rephrase the task",
    FailureClass.MAX_TURNS: "the host continues the run; raise maxTurnsPerRun to allow more turns at once",
    FailureClass.SESSION_UNAVAILABLE: "the next run starts a fresh session",
    FailureClass.POISONED_SESSION: "the next run starts a fresh session",
    FailureClass.EMPTY_REPLY: "try again; check the model's gateway if it happens again",
    FailureClass.OTHER: "read the agent's output for details",
}
SESSION_LOST = frozenset(
    {FailureClass.SESSION_UNAVAILABLE, FailureClass.POISONED_SESSION, FailureClass.REFUSAL}
)
"""Classes after which the session is given up: every run that resumed it would fail again."""

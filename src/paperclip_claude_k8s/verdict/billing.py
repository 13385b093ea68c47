"""Who is billed, by what the agent was given to authenticate with (HOST.md 8)."""

from collections.abc import Collection

from paperclip_claude_k8s.host.result import BillingType


def billing_of(
    env_names: Collection[str], api_key_source: str, *, on_bedrock: bool
) -> tuple[BillingType, str]:
    """Billing type and biller. The CLI's own word on its key's source counts most; "none" is a login."""
    if on_bedrock:
        return "metered_api", "aws_bedrock"
    by_key = api_key_source not in {"", "none"} or (not api_key_source and "ANTHROPIC_API_KEY" in env_names)
    return ("api" if by_key else "subscription"), "anthropic"

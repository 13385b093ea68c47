"""Which billing type and biller are reported, depending on the agent's credentials."""

import pytest

from paperclip_claude_k8s.verdict.result_builder import billing_of


@pytest.mark.parametrize(
    ("env_names", "api_key_source", "on_bedrock", "billing", "biller"),
    [
        (set(), "", False, "subscription", "anthropic"),
        ({"ANTHROPIC_API_KEY"}, "", False, "api", "anthropic"),
        ({"ANTHROPIC_API_KEY"}, "none", False, "subscription", "anthropic"),
        ({"CLAUDE_CODE_OAUTH_TOKEN"}, "none", False, "subscription", "anthropic"),
        (set(), "ANTHROPIC_API_KEY", False, "api", "anthropic"),
        ({"ANTHROPIC_API_KEY"}, "ANTHROPIC_API_KEY", True, "metered_api", "aws_bedrock"),
        ({"CLAUDE_CODE_USE_BEDROCK"}, "none", False, "subscription", "anthropic"),
    ],
)
def test_billing_depends_on_bedrock_then_reported_key_source_then_environment(
    env_names: set[str],
    api_key_source: str,
    on_bedrock: bool,  # noqa: FBT001
    billing: str,
    biller: str,
) -> None:
    assert billing_of(env_names, api_key_source, on_bedrock=on_bedrock) == (billing, biller)

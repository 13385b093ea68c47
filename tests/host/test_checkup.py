"""The context of an environment test: an error names the field, and what is expected there."""

from typing import Any

import pytest

from paperclip_claude_k8s.host.checkup import CheckupContext
from paperclip_claude_k8s.host.context import ContextInvalid


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "ctx cannot be used: expected an object"),
        ({"config": "canary"}, "ctx.config cannot be used: expected an object with the adapter's settings"),
        ({"companyId": {"canary": 1}}, "ctx.companyId cannot be used: expected a valid string"),
        ({"executionTarget": "canary"}, "ctx.executionTarget cannot be used: expected a valid dictionary"),
    ],
)
def test_error_names_the_field_and_what_is_expected_there(given: Any, message: str) -> None:
    with pytest.raises(ContextInvalid) as refused:
        CheckupContext.read(given)
    assert str(refused.value) == message

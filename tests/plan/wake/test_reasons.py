from typing import Any

import pytest

from paperclip_claude_k8s.plan.wake import is_recovery_wake, issue_work_mode, select_task_markdown

TEXTS = {"paperclipTaskMarkdown": "full", "paperclipTaskMarkdownCompact": "compact"}
COMMENTED = {"reason": "issue_commented", "issue": {"id": "i"}}


@pytest.mark.parametrize(
    ("context", "resumed", "chosen"),
    [
        ({**TEXTS, "paperclipWake": COMMENTED}, False, "full"),
        ({**TEXTS, "paperclipWake": COMMENTED}, True, "compact"),
        ({**TEXTS}, True, "full"),
        ({**TEXTS, "paperclipWake": {"reason": "issue_commented"}}, True, "full"),
        ({**TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_assigned"}}, True, "full"),
        ({**TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_reopened_via_comment"}}, True, "full"),
        ({**TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_recovery_action_restored"}}, True, "full"),
        ({**TEXTS, "paperclipWake": {**COMMENTED, "reason": "issue_tree_restored"}}, True, "full"),
        ({**TEXTS, "paperclipWake": {**COMMENTED, "reason": "source_scoped_recovery_action"}}, True, "full"),
        ({**TEXTS, "paperclipWake": {**COMMENTED, "recovery": {"cause": "x"}}}, True, "full"),
        ({"paperclipTaskMarkdown": "full", "paperclipWake": COMMENTED}, True, "full"),
        ({**TEXTS, "paperclipTaskMarkdownCompact": " ", "paperclipWake": COMMENTED}, True, "full"),
        ({"paperclipTaskMarkdownCompact": "compact", "paperclipWake": COMMENTED}, True, ""),
        ({"paperclipTaskMarkdown": " \n"}, False, ""),
        ({"paperclipTaskMarkdown": 3}, False, ""),
        ({}, False, ""),
    ],
)
def test_a_resumed_session_hears_the_task_again_only_where_it_must(
    context: dict[str, Any],
    resumed: bool,  # noqa: FBT001
    chosen: str,
) -> None:
    assert select_task_markdown(context, resumed=resumed) == chosen


@pytest.mark.parametrize(
    ("context", "mode"),
    [
        (
            {"paperclipIssue": {"workMode": " planning "}, "paperclipWake": {"issue": {"workMode": "ask"}}},
            "planning",
        ),
        ({"paperclipIssue": {"workMode": ""}, "paperclipWake": {"issue": {"workMode": "ask"}}}, "ask"),
        ({"paperclipIssue": "x", "paperclipWake": []}, None),
        ({}, None),
    ],
)
def test_the_work_mode_is_the_issues(context: dict[str, Any], mode: str | None) -> None:
    assert issue_work_mode(context) == mode


@pytest.mark.parametrize(
    ("wake", "recovery"),
    [
        ({"recovery": {"cause": "x"}}, True),
        ({"reason": " source_scoped_recovery_action "}, True),
        ({"recovery": {}, "reason": "issue_assigned"}, False),
        ({"recovery": True}, False),
        (None, False),
    ],
)
def test_a_recovery_wake_says_so(wake: object, recovery: bool) -> None:  # noqa: FBT001
    assert is_recovery_wake(wake) is recovery

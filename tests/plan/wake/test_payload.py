import json
from typing import Any

import pytest
from hypothesis import given
from tests.support.any_json import ANY_WAKE

from paperclip_claude_k8s.plan.wake import normalize_wake_payload, stringify_wake_payload

ISSUE = {"id": "i"}


def normalized(payload: object) -> dict[str, Any]:
    found = normalize_wake_payload(payload)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        [],
        "wake",
        3,
        {"reason": "issue_assigned"},
        {"comments": [], "commentIds": []},
        {"comments": [{"id": "c", "body": " \n"}]},
        {"issue": {"description": "nameless"}},
        {"executionContinuation": {"version": 2}},
        {"executionWorkspace": {"branchName": " \x00 "}},
        {"agentMessage": "  "},
        {"recovery": {}},
        {"checkedOutByHarness": True, "interactionId": "x", "truncated": True},
    ],
)
def test_a_payload_that_says_nothing_is_none(payload: object) -> None:
    assert normalize_wake_payload(payload) is None
    assert stringify_wake_payload(payload) is None


@pytest.mark.parametrize(
    "telling",
    [
        {"executionContinuation": {"version": 1}},
        {"comments": [{"body": "x"}]},
        {"commentIds": ["c"]},
        {"annotationDeltas": [{"a": 1}]},
        {"childIssueSummaries": [{"a": 1}]},
        {"unresolvedBlockerIssueIds": ["b"]},
        {"unresolvedBlockerSummaries": [{"id": "b"}]},
        {"activeTreeHold": {"id": "h"}},
        {"executionStage": {"wakeRole": "reviewer"}},
        {"continuationSummary": {"body": "x"}},
        {"planReviewContext": {"a": 1}},
        {"documentReviewContext": {"a": 1}},
        {"livenessContinuation": {"a": 1}},
        {"taskWatchdog": {"a": 1}},
        {"checkboxSelection": {"a": 1}},
        {"questionResponse": {"summary": "x"}},
        {"executionWorkspace": {"branchName": "b"}},
        {"agentMessage": "hello"},
        {"recovery": {"cause": "process_lost"}},
        {"issue": {"title": "t"}},
    ],
)
def test_each_telling_part_alone_makes_a_payload(telling: dict[str, Any]) -> None:
    found = normalized(telling)
    (name,) = telling
    assert found[name]


@given(ANY_WAKE)
def test_any_json_is_normalized_without_a_fault_and_once_is_enough(payload: object) -> None:
    once = normalize_wake_payload(payload)
    assert normalize_wake_payload(once) == once
    text = stringify_wake_payload(payload)
    assert (text is None) is (once is None)
    assert text is None or json.loads(text)["comments"] == once["comments"] or "?" in text  # type: ignore[index]


def test_ids_are_trimmed_and_bodies_are_not() -> None:
    found = normalized(
        {
            "reason": " issue_commented ",
            "issue": {
                "id": " i ",
                "identifier": "",
                "title": " T ",
                "description": " d\n",
                "workMode": " ask ",
            },
            "comments": [{"id": " c ", "body": "  b\n", "author": {"type": "user", "id": " u "}}],
            "latestCommentId": "",
        }
    )
    assert found["reason"] == "issue_commented"
    assert found["latestCommentId"] is None
    assert found["issue"] == {
        "id": "i",
        "identifier": None,
        "title": "T",
        "description": " d\n",
        "descriptionTruncated": False,
        "status": None,
        "workMode": "ask",
        "priority": None,
    }
    assert found["comments"] == [
        {
            "id": "c",
            "issueId": None,
            "body": "  b\n",
            "bodyTruncated": False,
            "createdAt": None,
            "authorType": "user",
            "authorId": "u",
        }
    ]


@pytest.mark.parametrize(
    ("given_counts", "counts"),
    [
        ({}, (1, 1, 0)),
        ({"commentWindow": {"requestedCount": 5, "includedCount": 1, "missingCount": 4}}, (5, 1, 4)),
        ({"requestedCount": 3, "missingCount": 2}, (3, 1, 2)),
        ({"commentWindow": {"requestedCount": "5", "missingCount": -1}}, (1, 1, 0)),
    ],
)
def test_comments_are_counted_as_told_or_as_seen(
    given_counts: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    found = normalized({"comments": [{"body": "x"}, {"body": " "}], "commentIds": ["a", "b"], **given_counts})
    assert (found["requestedCount"], found["includedCount"], found["missingCount"]) == counts


def test_ids_count_where_no_comment_came() -> None:
    assert normalized({"commentIds": ["a", " ", "b"]})["requestedCount"] == 2


def test_long_answers_and_wild_branch_names_are_cut() -> None:
    found = normalized(
        {
            "questionResponse": {"summary": "x" * 20_000, "answers": [1]},
            "executionWorkspace": {"branchName": "a\nb\x1b" + "c" * 400, "path": "/host"},
        }
    )
    assert found["questionResponse"] == {"summary": "x" * 12_000, "answers": [1]}
    assert found["executionWorkspace"] == {"branchName": "ab" + "c" * 298}


def test_the_text_of_a_payload_may_leave_the_description_out() -> None:
    payload = {"issue": {**ISSUE, "description": "long story"}}
    assert "long story" in (stringify_wake_payload(payload) or "")
    assert "long story" not in (stringify_wake_payload(payload, omit_issue_description=True) or "")
    assert ": " not in (stringify_wake_payload(payload) or "")

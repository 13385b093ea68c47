"""The wake payload: what is read from any JSON of the host, and the JSON that the agent gets."""

import json
from typing import Any

import pytest
from hypothesis import given
from tests.support.any_json import ANY_WAKE

from paperclip_claude_k8s.plan.wake import read_wake_payload, stringify_wake_payload


def text_of(payload: object) -> str | None:
    return stringify_wake_payload(read_wake_payload(payload))


def as_json(payload: object) -> dict[str, Any]:
    """The payload as the agent gets it."""
    found: dict[str, Any] = json.loads(text_of(payload) or "")
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
def test_payload_without_content_gives_no_json(payload: object) -> None:
    assert not read_wake_payload(payload).has_content
    assert text_of(payload) is None


@pytest.mark.parametrize(
    "part",
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
def test_each_part_with_content_gives_json(part: dict[str, Any]) -> None:
    found = as_json(part)
    (name,) = part
    assert found[name]


@given(ANY_WAKE)
def test_any_json_is_read_without_error_and_reading_is_idempotent(payload: object) -> None:
    text = text_of(payload)
    assert (text is not None) is read_wake_payload(payload).has_content
    assert text is None or text_of(json.loads(text)) == text


def test_ids_are_trimmed_and_bodies_are_not() -> None:
    found = as_json(
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
    ("given_counts", "requested_included_missing"),
    [
        ({}, (1, 1, 0)),
        ({"commentWindow": {"requestedCount": 5, "includedCount": 1, "missingCount": 4}}, (5, 1, 4)),
        ({"requestedCount": 3, "missingCount": 2}, (3, 1, 2)),
        ({"commentWindow": {"requestedCount": "5", "missingCount": -1}}, (1, 1, 0)),
    ],
)
def test_comment_counts_come_from_host_or_from_comments(
    given_counts: dict[str, Any], requested_included_missing: tuple[int, int, int]
) -> None:
    found = as_json({"comments": [{"body": "x"}, {"body": " "}], "commentIds": ["a", "b"], **given_counts})
    counts = (found["requestedCount"], found["includedCount"], found["missingCount"])
    assert counts == requested_included_missing


def test_requested_count_is_that_of_ids_if_there_are_no_comments() -> None:
    assert as_json({"commentIds": ["a", " ", "b"]})["requestedCount"] == 2


def test_long_answers_and_branch_names_are_cut() -> None:
    found = as_json(
        {
            "questionResponse": {"summary": "x" * 20_000, "answers": [1]},
            "executionWorkspace": {"branchName": "a\nb\x1b" + "c" * 400, "path": "/host"},
        }
    )
    assert found["questionResponse"] == {"summary": "x" * 12_000, "answers": [1]}
    assert found["executionWorkspace"] == {"branchName": "ab" + "c" * 298}  # 300 characters


def test_json_is_compact_and_in_the_order_of_the_fields() -> None:
    text = text_of({"issue": {"id": "i"}, "reason": "r"}) or ""
    assert ": " not in text
    assert text.startswith('{"reason":"r","executionContinuation":null,"recovery":null,"issue":{"id":"i",')
    assert text.endswith('"fallbackFetchNeeded":false,"requestedCount":0,"includedCount":0,"missingCount":0}')


def test_connector_skills_are_read_but_not_in_the_json() -> None:
    payload = {"issue": {"id": "i"}, "connectorSkillInstructions": " use it "}
    assert read_wake_payload(payload).connector_skill_instructions == "use it"
    assert "use it" not in (text_of(payload) or "")


@pytest.mark.parametrize(
    ("payload", "recovery"),
    [
        ({"recovery": {"cause": "x"}}, True),
        ({"reason": " source_scoped_recovery_action "}, True),
        ({"recovery": {}, "reason": "issue_assigned"}, False),
        ({"recovery": True}, False),
        (None, False),
    ],
)
def test_recovery_is_recognized_by_its_object_or_the_reason(payload: object, recovery: bool) -> None:  # noqa: FBT001
    assert read_wake_payload(payload).is_recovery is recovery

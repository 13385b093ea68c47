"""Any JSON a host may send, and wake payloads whose known fields hold any of it."""

from hypothesis import strategies as st

from paperclip_claude_k8s.plan.wake import normalize_wake_payload

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

ANY_TEXT = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=20)
"""Lone surrogates too, which JSON can spell and UTF-8 cannot hold."""
ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)
"""All that Python's reader makes of a text that is nearly JSON."""

_FIELDS = sorted(normalize_wake_payload({"issue": {"id": "i"}}) or {})

ANY_WAKE = ANY_JSON | st.dictionaries(
    st.sampled_from([*_FIELDS, "commentWindow", "connectorSkillInstructions"]), ANY_JSON, max_size=8
)

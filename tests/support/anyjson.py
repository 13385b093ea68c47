"""Any JSON a host may send, and wake payloads whose known fields hold any of it."""

from hypothesis import strategies as st

from paperclip_claude_k8s.plan.wake import normalize_wake_payload

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

_FIELDS = sorted(normalize_wake_payload({"issue": {"id": "i"}}) or {})

ANY_WAKE = ANY_JSON | st.dictionaries(
    st.sampled_from([*_FIELDS, "commentWindow", "connectorSkillInstructions"]), ANY_JSON, max_size=8
)

"""Strategies for any JSON that a host may send, and for wake payloads whose known fields hold any JSON."""

from dataclasses import fields

from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from paperclip_claude_k8s.plan.wake import WakePayload

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
"""Any valid JSON."""

ANY_TEXT = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=20)
"""Text that may contain lone surrogates, which UTF-8 cannot encode."""
ODD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)
"""Everything that Python's `json.loads` may return, including NaN, infinities and lone surrogates."""

_WAKE_KEYS = [to_camel(field.name) for field in fields(WakePayload)]

ANY_WAKE = ANY_JSON | st.dictionaries(st.sampled_from([*_WAKE_KEYS, "commentWindow"]), ANY_JSON, max_size=8)
"""Any JSON, or an object whose fields are those of a wake payload and hold any JSON."""

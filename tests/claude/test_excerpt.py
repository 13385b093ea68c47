"""`Excerpt` keeps the first 4 KiB and the last 60 KiB of an output that is added in chunks of any size."""

import random

import pytest

from paperclip_claude_k8s.claude.excerpt import HEAD_BYTES, TAIL_BYTES, Excerpt


@pytest.mark.parametrize("seed", range(40))
def test_excerpt_does_not_depend_on_the_chunks(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # not for secrets
    excerpt, whole = Excerpt(), b""
    for _ in range(chance.randrange(60)):
        piece = chance.randbytes(chance.choice([0, 1, 5, 300, 5000, 70_000]))
        excerpt.add(piece)
        whole += piece
    left_out = len(whole) - HEAD_BYTES - TAIL_BYTES
    assert excerpt.bytes == len(whole)
    if left_out <= 0:
        assert bytes(excerpt) == whole
    else:
        note = b"\n[... %d bytes left out ...]\n" % left_out
        assert bytes(excerpt) == whole[:HEAD_BYTES] + note + whole[-TAIL_BYTES:]

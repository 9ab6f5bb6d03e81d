"""The cut depends on the shape alone and leaves no context out."""

from hypothesis import given
from hypothesis import strategies as st

from darkmatter.shards import SHARD_TOKENS, cut_shards


@given(st.integers(0, 5000), st.integers(1, 3 * SHARD_TOKENS))
def test_shards_cover_every_context_once(contexts, positions):
    """Shards follow each other without gap, and only one-context shards exceed the size."""
    shards = cut_shards(contexts, positions)
    assert [c for shard in shards for c in range(shard.start, shard.stop)] == list(range(contexts))
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(s.stop - s.start == 1 or (s.stop - s.start) * positions <= SHARD_TOKENS for s in shards)

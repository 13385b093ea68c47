"""The limits of a `WatchCache`: an object counts once, whether it is present or has departed."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.support.objects import a_pod

from paperclip_claude_k8s.base.settings import Limits
from paperclip_claude_k8s.cluster.model import Bookmark, Listing, PodSnapshot, WatchEvent
from paperclip_claude_k8s.cluster.port import ClusterError, Labels
from paperclip_claude_k8s.cluster.watch_cache import WatchCache

ONE, TWO, THREE = (replace(a_pod(), name=f"pod-{n}", uid=f"uid-{n}") for n in (1, 2, 3))


async def _list(namespace: str, labels: Labels) -> Listing[PodSnapshot]:
    return Listing((), "1")


async def _watch(
    namespace: str, labels: Labels, version: str
) -> AsyncIterator[WatchEvent[PodSnapshot] | Bookmark]:
    yield Bookmark("1")


def cache_of(limits: Limits) -> WatchCache[PodSnapshot]:
    return WatchCache(
        "pods", _list, _watch, lambda pod: pod.uid, lambda pod: pod.job_uid, lambda *_: None, limits=limits
    )


def test_departed_object_that_is_put_again_counts_towards_the_limit() -> None:
    cache = cache_of(Limits(list_bytes=100))
    cache.put(ONE, size=40)
    cache.put(TWO, size=50)
    cache.drop(ONE, "missing")
    with pytest.raises(ClusterError, match="more Jobs or Pods than can be watched"):
        cache.put(ONE, size=60)


def test_departed_object_that_is_put_again_is_present() -> None:
    cache = cache_of(Limits())
    cache.put(ONE, size=40)
    cache.drop(ONE, "missing")
    cache.put(ONE, size=40)
    assert list(cache.objects_of(ONE.job_uid)) == [(ONE, "present")]


def test_departed_objects_make_room_for_new_ones() -> None:
    cache = cache_of(Limits(list_objects=2))
    cache.put(ONE)
    cache.put(TWO)
    cache.drop(ONE, "missing")
    cache.assign(ONE.job_uid, ONE)
    cache.put(THREE)
    assert {pod.uid for pod, _ in cache.objects_of(ONE.job_uid)} == {TWO.uid, THREE.uid}

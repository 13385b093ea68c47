"""The part of API discovery that kubectl needs."""

from typing import Any

from paperclip_claude_k8s.devcluster.kinds import ALL, JOBS, PODS, VERBS

VERSION = {"major": "1", "minor": "30", "gitVersion": "v1.30.0-devcluster", "platform": "linux/amd64"}
ACCESS_GROUP = "authorization.k8s.io"
_GROUPS = sorted({kind.group for kind in ALL if kind.group} | {ACCESS_GROUP})


def discover(path: str) -> dict[str, Any] | None:
    """The response to a discovery path; None for other paths."""
    return _PAGES.get(path.rstrip("/"))


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    versions = {"versions": [version], "preferredVersion": version}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, **versions}


def _resources(group: str, group_version: str) -> dict[str, Any]:
    resources: list[dict[str, Any]] = [
        {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(VERBS),
            **({"shortNames": list(kind.short)} if kind.short else {}),
            **({"categories": ["all"]} if kind in {PODS, JOBS} else {}),
        }
        for kind in ALL
        if kind.group == group
    ]
    if not group:
        log = {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
        resources.append(log)
    if group == ACCESS_GROUP:
        resources.append(
            {
                "name": "selfsubjectaccessreviews",
                "singularName": "",
                "namespaced": False,
                "kind": "SelfSubjectAccessReview",
                "verbs": ["create"],
            }
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


_PAGES: dict[str, dict[str, Any]] = {
    "/version": VERSION,
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _GROUPS]},
    "/api/v1": _resources("", "v1"),
    **{f"/apis/{name}": _group(name) for name in _GROUPS},
    **{f"/apis/{name}/v1": _resources(name, f"{name}/v1") for name in _GROUPS},
}

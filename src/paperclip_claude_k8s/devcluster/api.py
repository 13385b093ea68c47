"""Executes requests on the store by the rules of the API server."""

from collections.abc import Callable
from typing import Any

from paperclip_claude_k8s.devcluster import patching, problems
from paperclip_claude_k8s.devcluster.discovery import discover
from paperclip_claude_k8s.devcluster.faults import Faults
from paperclip_claude_k8s.devcluster.job_controller import FOREGROUND, delete_gracefully
from paperclip_claude_k8s.devcluster.kinds import BY_PLURAL, CLAIMS, JOBS, NAMESPACES, PODS, SECRETS, Object
from paperclip_claude_k8s.devcluster.kubelet import Kubelet
from paperclip_claude_k8s.devcluster.queries import number
from paperclip_claude_k8s.devcluster.selectors import Match, field_match, label_match
from paperclip_claude_k8s.devcluster.shapes import ACCESS_REVIEW, DELETE_OPTIONS, decoded
from paperclip_claude_k8s.devcluster.store import Store, now
from paperclip_claude_k8s.devcluster.tables import table
from paperclip_claude_k8s.devcluster.target import Target, missing_path
from paperclip_claude_k8s.devcluster.validation import SERVER_FIELDS, admitted, admitted_new, check_change

ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
OLD_MINOR = "28"
"""The last minor version of Kubernetes that replaces a Pod before its deletion is complete."""
USER = "system:serviceaccount:paperclip:paperclip"
"""The user that error responses name."""
WITHOUT_CONNECTION = frozenset({"pods/exec", "pods/attach", "pods/portforward"})
"""Subresources by which `kubectl` connects to a Pod, which is impossible here. `kubectl` sends GET or POST,
depending on its version."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Request:
    """One request, independent of HTTP."""

    def __init__(self, method: str, query: dict[str, str], body: Any, content_type: str, accept: str) -> None:  # noqa: ANN401
        self.method = method
        self.query = query
        self.body = body
        self.content_type = content_type
        self.wants_table = "as=Table" in accept

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"


class Api:
    """The API server without its HTTP layer."""

    def __init__(self, store: Store, kubelet: Kubelet, faults: Faults) -> None:
        self.store = store
        self.kubelet = kubelet
        self.faults = faults
        self._deletion = Deletion(store, kubelet)

    def respond(self, path: str, target: Target | str, request: Request) -> tuple[Object, int]:
        """The body and status of the response. Raises `Problem` for an error response.

        `target`: what `parse_target` returned: a string if the path names no resource.
        """
        if isinstance(target, str):
            return self._respond_without_resource(path, request)
        if target.resource in WITHOUT_CONNECTION:
            raise problems.no_connection(target.subresource, target.name)
        verb = verb_of(request.method, target, watch=False)
        self.check_access(target, verb)
        handlers: dict[str, Callable[[Target, Request], Object]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._modify,
            "patch": self._modify,
            "delete": self._deletion.delete,
            "deletecollection": self._delete_all,
        }
        if verb not in handlers:
            raise problems.Problem(405, "MethodNotAllowed", f"{request.method} is not supported on this path")
        return handlers[verb](target, request), 201 if verb == "create" else 200

    def check_access(self, target: Target, verb: str) -> None:
        """Raise a `Problem` if RBAC or an injected fault refuses the request."""
        if (verb, target.resource) in self.faults.denied:
            raise problems.forbidden(target.resource, target.namespace, verb, USER)
        for hook in self.faults.request_hooks:
            hook(verb, target.resource)

    def matcher(self, query: dict[str, str]) -> Match:
        """A predicate for the label and field selectors of a request."""
        labels = label_match(query.get("labelSelector", ""))
        fields = field_match(query.get("fieldSelector", ""))
        return lambda obj: labels(obj) and fields(obj)

    def _respond_without_resource(self, path: str, request: Request) -> tuple[Object, int]:
        if path == ACCESS_REVIEWS and request.method == "POST":
            return self._review_access(decoded(request.body or {}, ACCESS_REVIEW)), 201
        page = discover(path) if request.method == "GET" else None
        if page is None:
            raise missing_path()
        if path == "/version" and self.faults.replaces_terminating_pods:
            page = {**page, "minor": OLD_MINOR, "gitVersion": f"v1.{OLD_MINOR}.0-devcluster"}
        return page, 200

    def _review_access(self, review: Object) -> Object:
        access = review.get("spec", {}).get("resourceAttributes") or {}
        resource = access.get("resource", "")
        if access.get("subresource"):
            resource = f"{resource}/{access['subresource']}"
        known = (access.get("group", ""), access.get("resource", "")) in BY_PLURAL
        allowed = known and (access.get("verb"), resource) not in self.faults.denied
        return {**review, "status": {"allowed": allowed}}

    def _get(self, target: Target, request: Request) -> Object:
        obj = self.store.get(target.kind, target.namespace, target.name)
        return table(target.kind, [obj], str(self.store.version)) if request.wants_table else obj

    def _list(self, target: Target, request: Request) -> Object:
        match = self.matcher(request.query)
        items = [obj for obj in self.store.list(target.kind, target.namespace) if match(obj)]
        # as etcd sorts them
        items.sort(key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        version = str(self.store.version)
        if request.wants_table:
            return table(target.kind, items, version)
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": {"resourceVersion": version},
            "items": items,
        }

    def _create(self, target: Target, request: Request) -> Object:
        if target.kind.namespaced and self.store.find(NAMESPACES, "", target.namespace) is None:
            raise problems.not_found(NAMESPACES.plural, NAMESPACES.group, target.namespace)
        obj = admitted_new(target.kind, target.namespace, request.body or {})
        if target.kind == PODS and self.faults.pod_refusal:
            raise problems.Problem(403, "Forbidden", self.faults.pod_refusal)
        if target.kind == JOBS and self.faults.replaces_terminating_pods:
            obj["spec"].pop("podReplacementPolicy", None)
        existing = self.store.find(target.kind, target.namespace, obj["metadata"]["name"])
        if existing is not None:
            raise problems.already_exists(target.kind.plural, target.kind.group, obj["metadata"]["name"])
        if request.dry_run:
            obj["metadata"].update(uid="00000000-0000-4000-8000-000000000000", creationTimestamp=now())
            return obj
        return self.store.create(target.kind, obj)

    def _modify(self, target: Target, request: Request) -> Object:
        def change(before: Object) -> Object:
            given = request.body
            if request.method == "PATCH":
                given = patching.patched(before, request.body, request.content_type)
            after = admitted(target.kind, target.namespace, given)
            self._check_version(target, before, after["metadata"].get("resourceVersion"))
            check_change(target.kind, before, after)
            for name in SERVER_FIELDS:
                after["metadata"].pop(name, None)
                if name in before["metadata"]:
                    after["metadata"][name] = before["metadata"][name]
            return after

        return self.store.update(target.kind, target.namespace, target.name, change)

    def _check_version(self, target: Target, before: Object, version: str | None) -> None:
        if version and version != before["metadata"]["resourceVersion"]:
            raise problems.modified(target.kind.plural, target.kind.group, target.name)

    def _delete_all(self, target: Target, request: Request) -> Object:
        match = self.matcher(request.query)
        for obj in list(self.store.list(target.kind, target.namespace)):
            if match(obj):
                single = Target(target.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
                self._deletion.delete(single, request)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}


class Deletion:
    """Deletes objects by the propagation policy and preconditions of the request."""

    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store = store
        self._kubelet = kubelet

    def delete(self, target: Target, request: Request) -> Object:
        options, query = decoded(request.body or {}, DELETE_OPTIONS), request.query
        obj = self._store.get(target.kind, target.namespace, target.name)
        self._check_preconditions(target, obj, options.get("preconditions") or {})
        policy = options.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
        grace = options.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
        if target.kind == PODS:
            return self._delete_pod(obj, grace)
        if target.kind == JOBS and policy == "Foreground":
            return self._start_foreground_deletion(target)
        if policy == "Orphan":
            self._orphan_dependents(obj)
        if target.kind == CLAIMS:
            return self._store.update(target.kind, target.namespace, target.name, _mark_deleted)
        self._store.remove(target.kind, target.namespace, target.name)
        return obj

    def _check_preconditions(self, target: Target, obj: Object, wanted: Object) -> None:
        for name, label in (("uid", "UID"), ("resourceVersion", "resourceVersion")):
            expected, actual = wanted.get(name), obj["metadata"][name]
            if expected and expected != actual:
                versions = f"{label} in precondition: {expected}, {label} in object meta: {actual}"
                why = f"Precondition failed: {versions}"
                raise problems.conflict(target.kind.plural, target.kind.group, target.name, why)

    def _delete_pod(self, pod: Object, grace: float | None) -> Object:
        if grace == 0:
            self._store.remove(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            self._kubelet.kill(pod["metadata"]["uid"])
            return pod
        return delete_gracefully(self._store, pod, grace)

    def _start_foreground_deletion(self, target: Target) -> Object:
        def change(found: Object) -> None:
            _mark_deleted(found)
            found["metadata"]["finalizers"] = [FOREGROUND]

        return self._store.update(target.kind, target.namespace, target.name, change)

    def _orphan_dependents(self, owner: Object) -> None:
        uid = owner["metadata"]["uid"]

        def release(found: Object) -> None:
            owners = found["metadata"].get("ownerReferences") or []
            found["metadata"]["ownerReferences"] = [o for o in owners if o["uid"] != uid]

        for kind in (PODS, SECRETS):
            for obj in list(self._store.list(kind, owner["metadata"]["namespace"])):
                self._store.update(kind, obj["metadata"]["namespace"], obj["metadata"]["name"], release)


def _mark_deleted(found: Object) -> None:
    found["metadata"].setdefault("deletionTimestamp", now())


def verb_of(method: str, target: Target, *, watch: bool) -> str:
    """The RBAC verb of a request."""
    if method == "GET":
        return "watch" if watch else ("get" if target.name else "list")
    if method == "DELETE" and not target.name:
        return "deletecollection"
    return _VERBS.get(method, method.lower())

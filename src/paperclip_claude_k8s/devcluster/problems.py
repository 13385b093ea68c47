"""Error responses of the API server, with the texts of Kubernetes."""

from typing import Any


class Problem(Exception):
    """An error response: a `Status` object with status Failure."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        details = {"retryAfterSeconds": self.retry_after} if self.retry_after is not None else {}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }


def not_found(plural: str, group: str, name: str) -> Problem:
    return Problem(404, "NotFound", f'{_full_name(plural, group)} "{name}" not found')


def already_exists(plural: str, group: str, name: str) -> Problem:
    return Problem(409, "AlreadyExists", f'{_full_name(plural, group)} "{name}" already exists')


def conflict(plural: str, group: str, name: str, why: str) -> Problem:
    return Problem(
        409, "Conflict", f'Operation cannot be fulfilled on {_full_name(plural, group)} "{name}": {why}'
    )


def modified(plural: str, group: str, name: str) -> Problem:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(plural, group, name, why)


def invalid(kind: str, name: str, why: str) -> Problem:
    return Problem(422, "Invalid", f'{kind} "{name}" is invalid: {why}')


def bad_request(message: str) -> Problem:
    return Problem(400, "BadRequest", message)


def no_connection(subresource: str, pod: str) -> Problem:
    """The response to `kubectl exec`, and to `kubectl cp`, which uses it."""
    also = ", which `kubectl cp` needs too" if subresource == "exec" else ""
    return Problem(
        501,
        "NotImplemented",
        f"the development cluster has no {subresource}{also}: Pod {pod} is a process of the user who started "
        "it; `kubectl logs` and `claude-k8s attach` show its output",
    )


def gone(version: int, oldest: int) -> Problem:
    return Problem(410, "Expired", f"too old resource version: {version} ({oldest})")


def forbidden(what: str, namespace: str, verb: str, user: str) -> Problem:
    message = (
        f'{what} is forbidden: User "{user}" cannot {verb} resource "{what}" in the namespace "{namespace}"'
    )
    return Problem(403, "Forbidden", message)


def _full_name(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural

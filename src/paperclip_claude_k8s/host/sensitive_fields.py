"""Finds the fields of a Pod template that reach beyond the Pod: the node, other objects, root, rights.

Each is governed by a field of the policy. The same list tells people what the Pod of a run may do.
"""

SAFE_PROC_MOUNTS = frozenset({None, "", "Default"})
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_VALUES_OF_USERS = frozenset({"annotations", "labels", "limits", "matchLabels", "nodeSelector", "requests"})
"""Maps whose keys users choose: a label named `privileged` is not a field."""
_REFERENCES = {
    # field → key of the name in its object, field of the policy
    "secretKeyRef": ("name", "secrets"),
    "secretRef": ("name", "secrets"),
    "nodePublishSecretRef": ("name", "secrets"),
    "secret": ("secretName", "secrets"),
    "configMapKeyRef": ("name", "configMaps"),
    "configMapRef": ("name", "configMaps"),
    "configMap": ("name", "configMaps"),
    "persistentVolumeClaim": ("claimName", "claims"),
}
_NAMES = {
    # field with a name → field of the policy
    "image": "images",
    "nodeName": "nodeNames",
    "priorityClassName": "priorityClasses",
    "runtimeClassName": "runtimeClasses",
    "serviceAccount": "serviceAccounts",
    "serviceAccountName": "serviceAccounts",
    "secretName": "secrets",
}
_FLAGS = {
    # field that is dangerous unless it is false → field of the policy
    "allowPrivilegeEscalation": "rootUser",
    "automountServiceAccountToken": "serviceAccountTokens",
    "hostIPC": "hostNamespaces",
    "hostNetwork": "hostNamespaces",
    "hostPID": "hostNamespaces",
    "hostPort": "hostNamespaces",
    "hostProcess": "privileged",
    "privileged": "privileged",
    "seLinuxOptions": "privileged",
    "serviceAccountToken": "serviceAccountTokens",
    "sysctls": "privileged",
}

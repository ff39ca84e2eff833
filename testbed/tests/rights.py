"""What deploy/ferrolb.yaml grants the roles, as single rights; and taking some of them away in a cluster."""

from dataclasses import dataclass

import yaml

from kube.api import MERGE
from kube.stand import ROOT, SYSTEM
from labkit.wait import until

RBAC = "apis/rbac.authorization.k8s.io/v1"
REVIEWS = "apis/authorization.k8s.io/v1/subjectaccessreviews"
SECONDS = 30.0


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource. `grant` is the name of the Role or ClusterRole, without the namespace: controller, webhook or speaker."""

    grant: str
    verb: str
    resource: str
    group: str
    name: str = ""
    everywhere: bool = False

    @property
    def account(self):
        """Whose it is. The controller serves the webhook."""
        return "speaker" if self.grant == "speaker" else "controller"

    @property
    def refusal(self):
        """What the API server says to whom it lacks."""
        return f'cannot {self.verb} resource "{self.resource}" in API group "{self.group}"'

    def __str__(self):
        return f"{self.grant}: {self.verb} {self.resource}"


class Grants:
    """The Roles and ClusterRoles of a cluster that was installed from the manifest."""

    def __init__(self, api):
        self._api = api
        self._roles = [(document, rights_of(document)) for document in manifest() if document["kind"] in ("Role", "ClusterRole")]
        self._given = {right for _, rights in self._roles for right in rights}

    def give(self, without=()):
        """Everything that is shipped but these; returns when the API server judges so."""
        wanted = {right for _, rights in self._roles for right in rights} - set(without)
        changed = wanted ^ self._given
        for document, rights in self._roles:
            if changed & set(rights):
                whole = set(rights) <= wanted
                rules = document["rules"] if whole else [_rule(right) for right in rights if right in wanted]
                self._api.request("PATCH", _path(document), {"rules": rules}, MERGE)
        self._given = wanted
        for right in changed:
            until(f"{right} is {'given' if right in wanted else 'taken'}", lambda: self.may(right) == (right in wanted), SECONDS, 0.01)

    def may(self, right):
        """Whether the account may do that, as the API server says."""
        resource, _, subresource = right.resource.partition("/")
        what = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource, "name": right.name,
                "namespace": "" if right.everywhere else SYSTEM}
        spec = {"user": f"system:serviceaccount:{SYSTEM}:{right.account}", "resourceAttributes": what}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return self._api.request("POST", REVIEWS, review)["status"]["allowed"]


def manifest():
    """The objects of deploy/ferrolb.yaml."""
    return list(yaml.safe_load_all((ROOT / "deploy/ferrolb.yaml").read_text(encoding="utf-8")))


def granted():
    """All rights that the manifest grants, as often as it does."""
    return [right for document in manifest() if document["kind"] in ("Role", "ClusterRole") for right in rights_of(document)]


def rights_of(document):
    """The rights of a Role or ClusterRole."""
    grant, everywhere = document["metadata"]["name"].removeprefix(f"{SYSTEM}:"), document["kind"] == "ClusterRole"
    return [
        Right(grant, verb, resource, group, name, everywhere)
        for rule in document["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
        for name in rule.get("resourceNames", [""]) for verb in rule["verbs"]
    ]


def _rule(right):
    names = {"resourceNames": [right.name]} if right.name else {}
    return {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb], **names}


def _path(document):
    name = document["metadata"]["name"]
    return f"{RBAC}/clusterroles/{name}" if document["kind"] == "ClusterRole" else f"{RBAC}/namespaces/{SYSTEM}/roles/{name}"

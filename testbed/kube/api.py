"""The API server, asked directly: a few milliseconds a request, where a kubectl costs a tenth of a second of processor time."""

import base64
import http.client
import json
import socket
import ssl
import threading
from urllib.parse import quote, urlencode

from labkit.runner import LabError
from labkit.sockets import connect

from .network import API_ADDRESS, CONTROL_PLANE

PORT = 6443
SECONDS = 60.0
# Who owns the fields that `apply` writes.
MANAGER = "lab"
METALLB = "apis/metallb.io/v1beta1"
# Kind -> path of its group and version, name of the collection.
KINDS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Event": ("api/v1", "events"),
    "Namespace": ("api/v1", "namespaces"),
    "Node": ("api/v1", "nodes"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "DaemonSet": ("apis/apps/v1", "daemonsets"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "ValidatingWebhookConfiguration": ("apis/admissionregistration.k8s.io/v1", "validatingwebhookconfigurations"),
    "BFDProfile": (METALLB, "bfdprofiles"),
    "BGPAdvertisement": (METALLB, "bgpadvertisements"),
    "BGPPeer": ("apis/metallb.io/v1beta2", "bgppeers"),
    "Community": (METALLB, "communities"),
    "IPAddressPool": (METALLB, "ipaddresspools"),
    "L2Advertisement": (METALLB, "l2advertisements"),
    "ConfigurationState": (METALLB, "configurationstates"),
    "ServiceBGPStatus": (METALLB, "servicebgpstatuses"),
    "ServiceL2Status": (METALLB, "servicel2statuses"),
    "BGPSessionState": ("apis/frrk8s.metallb.io/v1beta1", "bgpsessionstates"),
}
CLUSTER_WIDE = ("Namespace", "Node", "ValidatingWebhookConfiguration")
APPLY, MERGE, STRATEGIC = "apply-patch+yaml", "merge-patch+json", "strategic-merge-patch+json"


class ApiError(LabError):
    """The API server refused a request."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """One connection to the API server, as an administrator. Objects are dictionaries, as in a manifest."""

    def __init__(self, lab, kubeconfig):
        document = json.loads(kubeconfig.read_text(encoding="utf-8"))
        authority = base64.b64decode(document["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self.token = document["users"][0]["user"]["token"]
        self._lab = lab
        self._tls = ssl.create_default_context(cadata=authority)
        self._lock = threading.Lock()
        self._connection = None

    def get(self, kind, name, namespace="default"):
        """An object, or None where there is none of that name."""
        try:
            return self.request("GET", path(kind, name, namespace))
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def list(self, kind, namespace=None, labels=None):
        """The objects of a kind, in all namespaces or in one; with these labels: `app=web`."""
        query = f"?{urlencode({'labelSelector': labels})}" if labels else ""
        try:
            return self.request("GET", path(kind, namespace=namespace) + query)["items"]
        except ApiError as error:
            # A kind that nobody has defined (yet).
            if error.status != 404:
                raise
            return []

    def apply(self, *objects):
        """Makes objects, or makes them be so (server-side apply): fields that were applied before and are missing now go."""
        return [self._apply(one) for one in objects]

    def create(self, one):
        """Makes an object; an `ApiError` says why not."""
        meta = one["metadata"]
        return self.request("POST", path(one["kind"], namespace=meta.get("namespace", "default")), one)

    def patch(self, kind, name, patch, namespace="default", subresource=None, form=MERGE):
        """Changes an object, by a merge patch unless `form` says otherwise."""
        where = path(kind, name, namespace) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", where, patch, form)

    def label(self, kind, name, labels, namespace="default"):
        """Sets labels of an object; those with the value None go."""
        return self.patch(kind, name, {"metadata": {"labels": labels}}, namespace)

    def delete(self, kind, name, namespace="default"):
        """Deletes an object, if there is one."""
        try:
            self.request("DELETE", path(kind, name, namespace))
        except ApiError as error:
            if error.status != 404:
                raise

    def clear(self, kind, namespace="default"):
        """Deletes all objects of a kind in a namespace."""
        self.request("DELETE", path(kind, namespace=namespace))

    def request(self, method, where, body=None, form="json"):
        """The document that the API server answers with."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = f"application/{form}"
        data = None if body is None else json.dumps(body)
        with self._lock:
            status, text = self._exchange(method, f"/{where}", data, headers)
        if status >= 300:
            raise ApiError(status, _message(text))
        return json.loads(text)

    def _apply(self, one):
        meta = one["metadata"]
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        where = path(one["kind"], meta["name"], meta.get("namespace", "default"))
        return self.request("PATCH", f"{where}?{query}", one, APPLY)

    def _exchange(self, method, where, data, headers):
        """Over the connection that stands, or else over a new one: the API server may have closed the old one, or was started anew."""
        if self._connection is not None:
            try:
                return self._ask(method, where, data, headers)
            except (http.client.HTTPException, OSError):
                self._connection.close()
                self._connection = None
        self._connection = _Connection(self._lab, self._tls)
        return self._ask(method, where, data, headers)

    def _ask(self, method, where, data, headers):
        self._connection.request(method, where, body=data, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()


class _Connection(http.client.HTTPSConnection):
    def __init__(self, lab, tls):
        super().__init__(API_ADDRESS, PORT, timeout=SECONDS, context=tls)
        self._lab = lab
        self._tls = tls

    def connect(self):
        plain = connect(self._lab, CONTROL_PLANE, API_ADDRESS, PORT, SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=API_ADDRESS)


def path(kind, name=None, namespace=None):
    """Where an object, or the collection of a kind, is served."""
    group, plural = KINDS[kind]
    within = "" if kind in CLUSTER_WIDE or namespace is None else f"/namespaces/{quote(namespace)}"
    return f"{group}{within}/{plural}" + (f"/{quote(name)}" if name else "")


def _message(text):
    try:
        return json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        return text

"""Writes manifests as a careful editor does: whole, and under a name that counts only when complete."""

import base64

import yaml

SYSTEM = "metallb-system"


class Folder:
    """A directory of manifests that a running FerroLB watches; it is made if it isn't there."""

    def __init__(self, path):
        path.mkdir(exist_ok=True)
        self.path = path

    def write(self, name, *documents):
        """Puts the documents into `NAME.yaml`, replacing what it held."""
        self.write_text(name, yaml.safe_dump_all(documents))

    def write_text(self, name, text):
        """The same with any text, broken ones too."""
        draft = self.path / f".{name}.draft"
        draft.write_text(text, encoding="utf-8")
        draft.rename(self.path / f"{name}.yaml")

    def remove(self, name):
        """Removes `NAME.yaml` if it is there."""
        (self.path / f"{name}.yaml").unlink(missing_ok=True)


def metallb(kind, name, spec, version="v1beta1"):
    return {"apiVersion": f"metallb.io/{version}", "kind": kind, "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec}


def peer(name, address, source, asn=64512, **more):
    spec = {"myASN": asn, "peerASN": 64513, "peerAddress": address, "sourceAddress": source, "holdTime": "9s", "keepaliveTime": "3s"}
    return metallb("BGPPeer", name, {**spec, **more}, "v1beta2")


def secret(name, password):
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": name, "namespace": SYSTEM},
        "data": {"password": base64.b64encode(password.encode()).decode()},
    }


def pool(name, *addresses):
    return metallb("IPAddressPool", name, {"addresses": list(addresses)})


def advertisement(name, *pools, **more):
    return metallb("BGPAdvertisement", name, {"ipAddressPools": list(pools), **more})


def node(name, *addresses):
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def service(name, ip, node_name="n1"):
    """A Service that asks for `ip`, and a slice with one ready endpoint on the node."""
    family, cluster_ip, endpoint = ("IPv6", "fd00:96::10", "fd00:244::10") if ":" in ip else ("IPv4", "10.96.0.10", "10.244.0.10")
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    yield {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "annotations": {"metallb.io/loadBalancerIPs": ip}},
        "spec": {"type": "LoadBalancer", "ipFamilies": [family], "clusterIPs": [cluster_ip], "ports": [port]},
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": family, "ports": [port],
        "endpoints": [{"addresses": [endpoint], "nodeName": node_name, "conditions": {"ready": True}}],
    }

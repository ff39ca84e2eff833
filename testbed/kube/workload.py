"""Objects that tests put behind a load balancer, as dictionaries for `Cluster.apply`."""

from .images import NGINX, WEB


def deployment(name="web", replicas=3, image=WEB, port=8080, node=None, namespace="default"):
    """Pods spread over the nodes, or all on one. Those of the web image say who they are and who asks."""
    labels = {"app": name}
    container = {
        "name": "web", "image": image, "imagePullPolicy": "Never", "ports": [{"containerPort": port}],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    }
    if image == WEB:
        container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 1, "failureThreshold": 1}
    spec = {
        "containers": [container],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        }],
        # A lost node's pods are replaced after seconds, not minutes.
        "tolerations": [{"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
                        for what in ("not-ready", "unreachable")],
        **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
    }
    if node:
        del spec["topologySpreadConstraints"]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def nginx(name="nginx", replicas=1):
    """A Deployment of nginx."""
    return deployment(name, replicas, NGINX, 80)


def service(name="web", app=None, target=8080, port=80, namespace="default", annotations=None, **spec):
    """A Service of type LoadBalancer in both families, unless `spec` says otherwise."""
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "annotations": annotations or {}},
        "spec": {
            "type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack", "selector": {"app": app or name},
            "ports": [{"port": port, "targetPort": target, "protocol": "TCP"}], **spec,
        },
    }

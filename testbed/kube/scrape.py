"""Scrapes of the metrics that the roles serve over HTTPS, as Prometheus does them."""


def token(cluster, name, may):
    """A token of an account made for it, which may get /metrics, or may not."""
    api = "rbac.authorization.k8s.io/v1"
    objects = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}]
    if may:
        objects += [
            {"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
            {"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": name},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
             "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]},
        ]
    cluster.apply(objects)
    return cluster.kubectl("create", "token", name, "--namespace", "default").strip()


def scrape(cluster, node, host="127.0.0.1", bearer=None, port=9120):
    """Status and text of the metrics at a port, asked for from a node."""
    login = ["-H", f"Authorization: Bearer {bearer}"] if bearer else []
    return get(cluster, node, f"https://{host}:{port}/metrics", "-k", *login)


def get(cluster, node, url, *options):
    """Status and text of a page, asked for from a node; status 000 where nobody answers."""
    answer = cluster.in_ns(node, "curl", "-gs", "-m", "8", "-w", "\n%{http_code}", *options, url, check=False)
    text, _, status = answer.rpartition("\n")
    return status, text

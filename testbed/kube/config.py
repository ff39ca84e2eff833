"""What Kubernetes' programs are told: certificates, credentials, files, command lines.

All files are written before the lab stands. They lie in the folder that a node sees as /run/node.
"""

import base64
import json
import secrets
import subprocess

from .build import BuildError
from .images import PAUSE
from .network import API_ADDRESS, API_SERVICE, API_URL, NODES, PODS, SERVICES, pods

NODE = "/run/node"
SOCKET = "/run/containerd/containerd.sock"
ADMIN = "admin.conf"
# Who is known to the API server, by file: user and group.
USERS = {
    ADMIN: ("admin", "system:masters"),
    "controller-manager.conf": ("system:kube-controller-manager", None),
    "scheduler.conf": ("system:kube-scheduler", None),
}
API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
# How soon a node that is silent counts as lost.
GRACE = "12s"


def write(state, cgroup, proxy):
    """Fills `state`, a folder with one for each node; `proxy` is kube-proxy's mode."""
    cp = state / "cp"
    cp.mkdir(parents=True)
    _certificates(cp)
    authority = base64.b64encode((cp / "ca.crt").read_bytes()).decode()
    tokens = []

    def credentials(path, user, group):
        token = secrets.token_hex(16)
        tokens.append(f'{token},{user},{user},"{group}"' if group else f"{token},{user},{user}")
        _write(path, _kubeconfig(authority, token))

    for name, (user, group) in USERS.items():
        credentials(cp / name, user, group)
    for node in NODES:
        folder = state / node
        (folder / "cni").mkdir(parents=True)
        credentials(folder / "kubelet.conf", f"system:node:{node}", "system:nodes")
        credentials(folder / "proxy.conf", "system:kube-proxy", None)
        _write(folder / "kubelet.yaml", _kubelet(f"/{cgroup}/{node}"))
        _write(folder / "proxy.yaml", _proxy(node, proxy))
        _write(folder / "cni/10-lab.conflist", _network(node))
        (folder / "containerd.toml").write_text(CONTAINERD, encoding="utf-8")
        (folder / "resolv.conf").touch()
    (cp / "tokens.csv").write_text("\n".join(tokens) + "\n", encoding="utf-8")


def etcd():
    """Its data is gone with the lab, so nothing waits for the disk."""
    url = "http://127.0.0.1:2379"
    return ["/run/packages/usr/bin/etcd", "--data-dir", f"{NODE}/etcd", "--unsafe-no-fsync", "--listen-client-urls", url,
            "--advertise-client-urls", url, "--listen-peer-urls", "http://127.0.0.1:2380"]


def api_server():
    options = {
        "etcd-servers": "http://127.0.0.1:2379",
        "secure-port": 6443,
        "advertise-address": API_ADDRESS,
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "token-auth-file": f"{NODE}/tokens.csv",
        "client-ca-file": f"{NODE}/ca.crt",
        "tls-cert-file": f"{NODE}/api.crt",
        "tls-private-key-file": f"{NODE}/api.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": f"{NODE}/accounts.pub",
        "service-account-signing-key-file": f"{NODE}/accounts.key",
        "requestheader-client-ca-file": f"{NODE}/ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": f"{NODE}/front-proxy.crt",
        "proxy-client-key-file": f"{NODE}/front-proxy.key",
        "allow-privileged": "true",
        # Nobody here resolves names, and no kube-proxy serves this namespace: dial nodes and pods by their addresses.
        "kubelet-preferred-address-types": "InternalIP",
        "enable-aggregator-routing": "true",
        "profiling": "false",
    }
    return _command("kube-apiserver", options)


def controller_manager():
    return _command("kube-controller-manager", {
        "kubeconfig": f"{NODE}/controller-manager.conf",
        "root-ca-file": f"{NODE}/ca.crt",
        "service-account-private-key-file": f"{NODE}/accounts.key",
        # RBAC gives the rights to each controller's account, not to the manager.
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        # Its default would be made on the machine's disk.
        "flex-volume-plugin-dir": f"{NODE}/flexvolumes",
        "node-monitor-period": "2s",
        "node-monitor-grace-period": GRACE,
    })


def scheduler():
    return _command("kube-scheduler", {"kubeconfig": f"{NODE}/scheduler.conf", "leader-elect": "false", "bind-address": "127.0.0.1"})


def containerd():
    return ["containerd", "--config", f"{NODE}/containerd.toml"]


def kubelet(node):
    return _command("kubelet", {
        "config": f"{NODE}/kubelet.yaml", "kubeconfig": f"{NODE}/kubelet.conf", "hostname-override": node,
        "node-ip": ",".join(NODES[node]), "root-dir": f"{NODE}/kubelet", "cert-dir": f"{NODE}/kubelet/pki",
    })


def kube_proxy():
    return _command("kube-proxy", {"config": f"{NODE}/proxy.yaml"})


def _command(program, options):
    return [f"/run/kube/{program}", *(f"--{name}={value}" for name, value in options.items())]


def _write(path, document):
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _kubeconfig(authority, token):
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": API_URL, "certificate-authority-data": authority}}],
        "users": [{"name": "lab", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    }


def _kubelet(cgroup):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs", "cgroupRoot": cgroup, "failCgroupV1": False, "failSwapOn": False,
        # Only the lab can reach it.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDomain": "cluster.local", "resolvConf": f"{NODE}/resolv.conf",
        # Its default lies below /usr.
        "volumePluginDir": f"{NODE}/kubelet/volumeplugins",
        "nodeStatusUpdateFrequency": "3s", "syncFrequency": "5s",
        # The machine's disk may be full of other things, and images can't be had again.
        "imageGCHighThresholdPercent": 100, "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
    }


def _proxy(node, mode):
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": mode, "hostnameOverride": node, "clusterCIDR": PODS, "clientConnection": {"kubeconfig": f"{NODE}/proxy.conf"},
        # Four times as often as by default where much changes: tests wait for what they change.
        mode: {"minSyncPeriod": "250ms"},
        # These belong to the machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _network(node):
    ranges = [[{"subnet": subnet}] for subnet in pods(node)]
    bridge = {
        "type": "bridge", "bridge": "cni0", "isGateway": True, "isDefaultGateway": True, "hairpinMode": True, "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": ranges},
    }
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]}


# `restrict_oom_score_adj`: without CAP_SYS_RESOURCE runc dies of the pause container's score, with an error about a pipe.
CONTAINERD = f"""version = 2
root = "{NODE}/containerd"
state = "/run/containerd"
disabled_plugins = [{", ".join(f'"io.containerd.{plugin}"' for plugin in (
    "snapshotter.v1.devmapper", "snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.aufs", "internal.v1.opt"))}]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{NODE}/cni"
"""


def _certificates(folder):
    """A CA, the API server's certificate, the one it shows to extension servers, and the key that signs accounts' tokens."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30"]
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    names = ",".join([*(f"IP:{ip}" for ip in (API_ADDRESS, API_SERVICE, "127.0.0.1")), *(f"DNS:{name}" for name in API_NAMES)])
    ca_usage = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    for command in (
        ["req", "-x509", *key, "-subj", "/CN=lab-ca", "-keyout", "ca.key", "-out", "ca.crt", *ca_usage],
        ["req", "-x509", *key, "-subj", "/CN=kube-apiserver", "-keyout", "api.key", "-out", "api.crt", *signed,
         "-addext", f"subjectAltName={names}", "-addext", "extendedKeyUsage=serverAuth"],
        ["req", "-x509", *key, "-subj", "/CN=front-proxy-client", "-keyout", "front-proxy.key", "-out", "front-proxy.crt", *signed,
         "-addext", "extendedKeyUsage=clientAuth"],
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "accounts.key"],
        ["ec", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"],
    ):
        done = subprocess.run(["openssl", *command], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildError(f"openssl {command[0]}: {done.stderr.strip()}")

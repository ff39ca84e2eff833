#!/usr/bin/env python3
"""How long standalone takes from its start to the last UPDATE, and from a changed file to the wire.

    testbed/bench/convergence.py [--bin target/release/ferrolb] [--services 10000] [--changes 100] [--layout files|file]

Prints one JSON object: milliseconds, UPDATE counts, resident memory. Everything runs on loopback, in a temporary directory.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from sink import Sink

PORT = 1790

CONFIGURATION = f"""\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{ name: pool, namespace: metallb-system }}
spec: {{ addresses: ["198.18.0.0/15"] }}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {{ name: all, namespace: metallb-system }}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {{ name: sink, namespace: metallb-system }}
spec: {{ myASN: 64512, peerASN: 64513, peerAddress: 127.0.0.1, peerPort: {PORT} }}
"""


def service(i, ready=True):
    """A service with a fixed address and one endpoint."""
    address = f"198.{18 + i // 65536}.{i // 256 % 256}.{i % 256}"
    return f"""\
apiVersion: v1
kind: Service
metadata: {{ name: s{i}, namespace: default }}
spec:
  type: LoadBalancer
  clusterIPs: ["10.96.{i // 256 % 256}.{i % 256}"]
  ports: [ {{ protocol: TCP, port: 80 }} ]
status: {{ loadBalancer: {{ ingress: [ {{ ip: {address} }} ] }} }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: s{i}, namespace: default, labels: {{ kubernetes.io/service-name: s{i} }} }}
addressType: IPv4
endpoints: [ {{ addresses: ["10.0.0.1"], nodeName: n1, conditions: {{ ready: {str(ready).lower()} }} }} ]
"""


def write_manifests(folder, services, layout):
    with open(os.path.join(folder, "configuration.yaml"), "w") as f:
        f.write(CONFIGURATION)
    if layout == "file":
        with open(os.path.join(folder, "services.yaml"), "w") as f:
            f.write("---\n".join(service(i) for i in range(services)))
        return
    for i in range(services):
        with open(os.path.join(folder, f"s{i}.yaml"), "w") as f:
            f.write(service(i))


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def announced(sink):
    return sum(len(u.announced) for u in sink.updates)


def change_one(folder, sink, i, ready):
    """Writes one service's file anew; milliseconds from the close of the file to the UPDATE at the peer."""
    count = len(sink.updates)
    with open(os.path.join(folder, f"s{i}.yaml"), "w") as f:
        f.write(service(i, ready))
    closed = time.monotonic()
    if not sink.wait(lambda s: len(s.updates) > count, 5):
        sys.exit(f"no UPDATE within 5 s after s{i}.yaml was written")
    return (sink.updates[count].at - closed) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release/ferrolb")
    parser.add_argument("--services", type=int, default=10000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--layout", choices=["files", "file"], default="files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ferrolb-bench-") as folder:
        manifests = os.path.join(folder, "manifests")
        os.mkdir(manifests)
        write_manifests(manifests, args.services, args.layout)
        sink = Sink(port=PORT)
        started = time.monotonic()
        with open(os.path.join(folder, "log"), "w") as log:
            command = [args.bin, "standalone", "--manifests", manifests, "--node", "n1", "--state", os.path.join(folder, "state")]
            process = subprocess.Popen(command, stderr=log)
        try:
            if not sink.wait(lambda s: s.end_of_rib and announced(s) >= args.services, 60):
                sys.exit(f"only {announced(sink)} of {args.services} routes came")
            result = {
                "services": args.services,
                "layout": args.layout,
                "start_to_last_update_ms": round((sink.updates[-1].at - started) * 1000, 1),
                "updates": len([u for u in sink.updates if u.announced]),
                "resident_mib": round(resident_kib(process.pid) / 1024, 1),
            }
            if args.layout == "files" and args.changes:
                time.sleep(1)
                times = sorted(change_one(manifests, sink, i * 37 % args.services, False) for i in range(args.changes))
                result["change_to_wire_ms"] = {
                    "p50": round(statistics.median(times), 2),
                    "p99": round(times[min(len(times) - 1, len(times) * 99 // 100)], 2),
                    "max": round(times[-1], 2),
                }
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        print(json.dumps(result))


if __name__ == "__main__":
    main()

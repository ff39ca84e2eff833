"""`make demo-kube` as a person runs it."""

import subprocess
import unittest

from kube import cluster as kube_cluster
from labkit.build import ROOT
from labkit.runner import PYTHON, STATE_ROOT

SECONDS = 600


class Tour(unittest.TestCase):
    def test_it_shows_every_stop_and_leaves_nothing(self):
        kube_cluster.prepare()
        before = standing()
        done = subprocess.run([PYTHON, str(ROOT / "testbed/kubedemo.py")], capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for text in (
            "<pending>", "deployment.apps/controller created", "192.168.1.240", "nodeAssigned", "200 OK", "192.168.9.0,fd00:9::",
            "nexthop via 192.168.1.11", "nexthop via fd00:1::13", "Established", "NotReady", "The cluster is gone",
        ):
            with self.subTest(text=text):
                self.assertIn(text, done.stdout)
        self.assertEqual(standing(), before)


def standing():
    return sorted(path.name for path in STATE_ROOT.iterdir() if path.name.startswith("demo-kube-")) if STATE_ROOT.is_dir() else []


if __name__ == "__main__":
    unittest.main()

"""FerroLB's own commands inside its pods, by `kubectl exec`: what people do first when something doesn't work."""

import json
import subprocess

from inventory import IPV4
from kube.stand import SYSTEM
from stand import Case

SPEAKER, CONTROLLER = "daemonset/speaker", "deployment/controller"


class Inside(Case):
    def inside(self, role, *command):
        """What a command says in a pod of a role: that something is wrong it may find, but not that it can't look."""
        argv = self.cluster.kubectl_command("exec", "--namespace", SYSTEM, role, "--", "/ferrolb", *command)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.stdout

    def test_a_role_says_what_it_does(self):
        self.pool(IPV4)
        self.advertise()
        service = self.service(IPV4)
        for role in (SPEAKER, CONTROLLER):
            with self.subTest(role=role):
                self.assertIn(service.addresses[0], self.inside(role, "status"))
        self.assertIn("tor4", self.inside(SPEAKER, "explain", f"default/{service.name}"))

    def test_check_looks_at_the_machine_and_names_what_it_may_not_see(self):
        for role, unread in ((SPEAKER, "namespaces"), (CONTROLLER, "endpointslices.discovery.k8s.io")):
            with self.subTest(role=role):
                findings = json.loads(self.inside(role, "check", "-o", "json"))["findings"]
                self.assertIn(("info", unread), [(finding["severity"], finding["subject"]) for finding in findings])

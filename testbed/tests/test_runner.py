"""The runner, live: what a lab has while it stands, and that nothing is left of it afterwards."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from labkit import cgroups, runner, topology
from labkit.runner import LAB, PYTHON, STATE_ROOT, Lab, LabError
from labkit.wait import until

from traces import namespaces, wait_gone

PAIR = """
name: pair
topology:
  defaults: { kind: linux, env: { COLOUR: blue } }
  nodes:
    a:
      exec: ["ip address add 192.0.2.1/24 dev eth1"]
      binds: ["file.txt:/run/here/file.txt:ro"]
      sysctls: { net.ipv4.ip_forward: 1 }
    b:
      cmd: sleep infinity
      exec: ["ip address add 192.0.2.2/24 dev eth7"]
  links:
    - endpoints: ["a:eth1", "b:eth7"]
"""
OWNER = """
import sys, time
from labkit import topology
from labkit.runner import Lab
lab = Lab.claim(sys.argv[2], keep=False)
lab.build(topology.load(sys.argv[1]))
print("up", flush=True)
time.sleep(60)
"""


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ferrolb-runner-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "file.txt").write_text("from the host\n", encoding="utf-8")

    def file(self, text=PAIR):
        path = self.folder / "pair.clab.yml"
        path.write_text(text, encoding="utf-8")
        return path

    def up(self, text=PAIR, name="pair"):
        lab = Lab.claim(unique(name), keep=False)
        self.addCleanup(lab.down)
        lab.build(topology.load(self.file(text)))
        return lab


class Standing(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="ferrolb-runner-")
        cls.addClassCleanup(folder.cleanup)
        path = Path(folder.name, "pair.clab.yml")
        path.write_text(PAIR, encoding="utf-8")
        path.with_name("file.txt").write_text("from the host\n", encoding="utf-8")
        cls.lab = Lab.claim(unique("standing"), keep=False)
        cls.addClassCleanup(cls.lab.down)
        cls.lab.build(topology.load(path))

    def test_a_link_joins_its_two_nodes(self):
        # The address of the other end is in the neighbour table once something was sent to it.
        self.lab.run("a", ["bash", "-c", "exec 3<>/dev/udp/192.0.2.2/9 && echo >&3"])
        neighbour = until("the neighbour", lambda: self.lab.run("a", ["ip", "neighbour", "show", "192.0.2.2"]), 5.0)
        self.assertIn("lladdr", neighbour)

    def test_a_node_sees_its_own_interfaces_and_processes_only(self):
        self.assertEqual(set(interfaces(self.lab, "a")), {"lo", "eth1"})
        processes = self.lab.run("b", ["ps", "-e", "-o", "comm="]).split()
        self.assertEqual(sorted(processes), ["ps", "python3", "sleep"])

    def test_a_node_has_its_name_sysctls_and_environment(self):
        self.assertEqual(self.lab.run("a", ["uname", "-n"]), "a\n")
        self.assertEqual(self.lab.run("a", ["cat", "/proc/sys/net/ipv4/ip_forward"]), "1\n")
        self.assertEqual(self.lab.run("b", ["cat", "/proc/sys/net/ipv4/ip_forward"]), "0\n")
        self.assertEqual(self.lab.run("b", ["printenv", "COLOUR"]), "blue\n")

    def test_a_bind_is_seen_inside_and_is_read_only_where_it_says_so(self):
        self.assertEqual(self.lab.run("a", ["cat", "/run/here/file.txt"]), "from the host\n")
        with self.assertRaisesRegex(LabError, "(?i)read-only"):
            self.lab.run("a", ["sh", "-c", "echo x >/run/here/file.txt"])

    def test_what_a_node_writes_below_run_stays_in_it(self):
        self.lab.run("a", ["touch", "/run/ferrolb-lab-test"])
        self.assertFalse(Path("/run/ferrolb-lab-test").exists())
        with self.assertRaises(LabError):
            self.lab.run("b", ["cat", "/run/ferrolb-lab-test"])

    def test_an_orphan_inside_a_node_is_reaped(self):
        self.lab.run("a", ["sh", "-c", "(sleep 0.1 &)"])
        until("no sleep left", lambda: "sleep" not in self.lab.run("a", ["ps", "-e", "-o", "comm="]), 5.0)

    def test_a_second_lab_of_the_same_name_is_refused(self):
        with self.assertRaisesRegex(LabError, "is up already"):
            Lab.claim(self.lab.name)

    def test_a_failed_command_is_an_error_with_its_output(self):
        with self.assertRaisesRegex(LabError, "exit 3: why not"):
            self.lab.run("a", ["sh", "-c", "echo why not >&2; exit 3"])

    def test_a_command_in_an_absent_node_is_an_error(self):
        with self.assertRaisesRegex(LabError, "no node 'c'"):
            self.lab.run("c", ["true"])

    def test_a_host_has_no_interface_of_the_lab(self):
        names = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("eth7", names)


class Ending(Case):
    def test_labs_of_one_file_stand_side_by_side(self):
        first, second = self.up(name="first"), self.up(name="second")
        first.down()
        self.assertEqual(second.run("a", ["uname", "-n"]), "a\n")

    def test_down_leaves_nothing_and_can_be_repeated(self):
        lab = self.up()
        spaces = namespaces(lab)
        lab.down()
        wait_gone(lab.name, spaces)
        lab.down()
        Lab.load(lab.name).down()

    def test_a_killed_node_takes_its_links_along(self):
        lab = self.up()
        lab.kill("b")
        until("no eth1 left", lambda: "eth1" not in interfaces(lab, "a"), 5.0)
        with self.assertRaisesRegex(LabError, "no node 'b'"):
            lab.run("b", ["true"])

    def test_a_killed_node_comes_back_with_new_links_and_its_commands(self):
        lab, plan = self.up(), topology.load(self.file())
        with self.assertRaisesRegex(LabError, "node b .* is up"):
            lab.revive(plan, "b")
        mac = ethernet_address(lab, "b", "eth7")
        lab.kill("b")
        lab.revive(plan, "b")
        self.assertIn("192.0.2.2/24", lab.run("b", ["ip", "address", "show", "eth7"]))
        self.assertEqual(ethernet_address(lab, "b", "eth7"), mac)
        self.assertIn("eth1", interfaces(lab, "a"))

    def test_a_cgroup_of_a_lab_goes_with_it(self):
        lab = self.up()
        cgroups.make(f"{lab.cgroup}/a/system")
        made = [root / lab.cgroup / "a/system" for root in cgroups.hierarchies()]
        self.assertTrue(made and all(folder.is_dir() for folder in made), made)
        for folder in made:
            lab.run("a", ["sh", "-c", f"(echo 0 >{folder}/cgroup.procs; exec sleep 60) >/dev/null 2>&1 &"])
        lab.down()
        self.assertFalse([folder for folder in made if folder.parents[1].exists()])

    def test_a_command_beside_a_node_has_its_network_and_the_hosts_files(self):
        lab = self.up()
        command = lab.beside("a", ["sh", "-c", f"ls {lab.folder}; cat /proc/net/dev"])
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.assertIn("state.json", said)
        self.assertIn("eth1", said)

    def test_a_node_ends_with_its_command_as_a_container_does(self):
        lab = self.up(PAIR.replace("sleep infinity", "sleep 1"))
        until("no eth1 left", lambda: "eth1" not in interfaces(lab, "a"), 5.0)
        with self.assertRaisesRegex(LabError, "isn't running any more"):
            lab.run("b", ["true"])

    def test_a_lab_ends_with_its_owner_whatever_signal_ends_that(self):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                name = unique(f"owned-{number}")
                argv = [sys.executable, "-c", OWNER, str(self.file()), name]
                with subprocess.Popen(argv, cwd=LAB.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
                    self.assertEqual(owner.stdout.readline(), "up\n")
                    spaces = namespaces(Lab.load(name))
                    owner.send_signal(number)
                wait_gone(name, spaces)

    def test_down_removes_what_a_killed_runner_left_halfway(self):
        name = unique("halfway")
        path = self.file(PAIR.replace('"ip address add 192.0.2.1/24 dev eth1"', '"sleep 30"'))
        with subprocess.Popen([PYTHON, str(LAB), "up", str(path), "--name", name], stderr=subprocess.DEVNULL) as up:
            until("two nodes", lambda: len(Lab.load(name).nodes) == 2, 10.0)
            up.kill()
        spaces = namespaces(Lab.load(name))
        self.assertEqual(len(spaces), 2)
        subprocess.run([PYTHON, str(LAB), "down", name], check=True)
        wait_gone(name, spaces)

    def test_a_lab_that_a_crash_left_can_be_brought_up_again(self):
        name = unique("again")
        Lab.claim(name)
        lab = Lab.claim(name, keep=False)
        self.addCleanup(lab.down)
        lab.build(topology.load(self.file()))
        self.assertIn(name, runner.names())

    def test_a_failed_command_of_the_file_takes_the_lab_down_and_is_named(self):
        name = unique("failed")
        path = self.file(PAIR.replace('"ip address add 192.0.2.1/24 dev eth1"', '"ip address add nonsense dev eth1"'))
        done = subprocess.run([PYTHON, str(LAB), "up", str(path), "--name", name], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("a: ip address add nonsense dev eth1", done.stderr)
        self.assertFalse((STATE_ROOT / name).exists())

    def test_a_name_that_could_leave_the_state_folder_is_refused(self):
        for act in (Lab.claim, Lab.load):
            with self.subTest(act=act.__name__), self.assertRaisesRegex(LabError, "is no lab name"):
                act("../etc")

    def test_a_bind_source_that_the_nodes_own_files_would_hide_is_refused(self):
        with self.assertRaisesRegex(LabError, "lies below /run"):
            self.up(PAIR.replace("file.txt:/run", "/run/lock:/run"))

    def test_a_missing_bind_source_is_named(self):
        with self.assertRaisesRegex(LabError, "bind source .*/nothing.txt doesn't exist"):
            self.up(PAIR.replace("file.txt:/run", "nothing.txt:/run"))

    def test_a_bind_target_that_would_appear_on_the_host_is_refused(self):
        with self.assertRaisesRegex(LabError, "must exist on this machine or lie below /run"):
            self.up(PAIR.replace(":/run/here/file.txt", ":/nowhere/file.txt"))
        self.assertFalse(Path("/nowhere").exists())


def unique(name):
    return f"{name}-{os.getpid()}"


def interfaces(lab, node):
    return [line.split(": ")[1].partition("@")[0] for line in lab.run(node, ["ip", "-o", "link"]).splitlines()]


def ethernet_address(lab, node, interface):
    return lab.run(node, ["ip", "-o", "link", "show", interface]).split("link/ether ")[1].split()[0]


if __name__ == "__main__":
    unittest.main()

"""Topology files: what is read, and what is refused with which words."""

import unittest
from pathlib import Path

from labkit import topology

TOPOLOGIES = Path(__file__).resolve().parents[1] / "topologies"

GOOD = """
name: pair
mgmt: { skip-when-unused: true }
topology:
  defaults: { kind: linux, image: some:tag, env: { A: "1" }, sysctls: { net.ipv4.ip_forward: 0 } }
  nodes:
    a:
      exec: ["ip address add 192.0.2.1/24 dev eth1", "sh -c 'echo one two'"]
      binds: ["here/file:/run/file:ro"]
      sysctls: { net.ipv4.ip_forward: 1 }
      env: { B: two }
    b:
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"""


def parse(text, variables=None):
    return topology.parse(text, "/lab/pair.clab.yml", variables or {})


class Accepted(unittest.TestCase):
    def test_a_node_has_what_the_file_says_over_the_defaults(self):
        node = parse(GOOD).nodes["a"]
        self.assertEqual(node.sysctls, {"net.ipv4.ip_forward": "1"})
        self.assertEqual(node.env, {"A": "1", "B": "two"})
        self.assertEqual(node.exec[1], ["sh", "-c", "echo one two"])

    def test_a_bind_source_is_relative_to_the_file(self):
        self.assertEqual(parse(GOOD).nodes["a"].binds, [topology.Bind(Path("/lab/here/file"), Path("/run/file"), True)])

    def test_a_link_joins_two_interfaces(self):
        (link,) = parse(GOOD).links
        self.assertEqual([str(end) for end in link], ["a:eth1", "b:eth1"])

    def test_a_variable_wins_over_its_default_unless_empty(self):
        text = GOOD.replace("here/file", "${FILE:=there}/file")
        for variables, folder in (({}, "there"), ({"FILE": ""}, "there"), ({"FILE": "/else"}, "/else")):
            with self.subTest(variables=variables):
                self.assertEqual(parse(text, variables).nodes["a"].binds[0].source, Path("/lab", folder, "file"))

    def test_every_topology_of_this_project_is_good(self):
        paths = sorted(TOPOLOGIES.glob("*.clab.yml"))
        self.assertGreaterEqual(len(paths), 2)
        for path in paths:
            with self.subTest(path=path.name):
                topology.load(path)


class Refused(unittest.TestCase):
    def refuse(self, old, new, *words):
        self.assertIn(old, GOOD)
        with self.assertRaises(topology.TopologyError) as caught:
            parse(GOOD.replace(old, new))
        for word in ("/lab/pair.clab.yml", *words):
            self.assertIn(word, str(caught.exception))

    def test_a_link_to_an_absent_node(self):
        self.refuse('"b:eth1"', '"c:eth1"', "topology.links[0]", "c:eth1", "isn't among")

    def test_a_link_with_one_endpoint(self):
        self.refuse('["a:eth1", "b:eth1"]', '["a:eth1"]', "topology.links[0]", "two endpoints, here are 1")

    def test_a_link_with_three_endpoints(self):
        self.refuse('"b:eth1"]', '"b:eth1", "b:eth2"]', "two endpoints, here are 3")

    def test_an_interface_used_twice(self):
        self.refuse('["a:eth1", "b:eth1"]', '["a:eth1", "a:eth1"]', "a:eth1 is used twice")

    def test_an_interface_used_twice_by_two_links(self):
        more = '["a:eth1", "b:eth1"]\n    - endpoints: ["b:eth2", "a:eth1"]'
        self.refuse('["a:eth1", "b:eth1"]', more, "topology.links[1]", "a:eth1 is used twice")

    def test_an_endpoint_without_interface(self):
        self.refuse('"b:eth1"', '"b"', "isn't NODE:INTERFACE")

    def test_an_interface_name_longer_than_the_kernel_takes(self):
        self.refuse('"b:eth1"', '"b:interface-of-sixteen"', "isn't NODE:INTERFACE")

    def test_an_unknown_key_at_each_level(self):
        for old, new, place in (
            ("name: pair", "name: pair\nprefix: x", "the file"),
            ("mgmt: {", "mgmt: { bridge: br0,", "mgmt"),
            ("defaults: {", "groups: {}\n  defaults: {", "topology"),
            ("image: some:tag", "startup-config: x", "topology.defaults"),
            ("exec: [", "ports: []\n      exec: [", "topology.nodes.a"),
            ('- endpoints: ["a', '- mtu: 1400\n      endpoints: ["a', "topology.links[0]"),
        ):
            with self.subTest(place=place):
                self.refuse(old, new, f"{place}: unknown key")

    def test_a_kind_other_than_linux(self):
        self.refuse("kind: linux", "kind: nokia_srlinux", "nokia_srlinux", "`linux` only")

    def test_a_name_that_could_leave_the_state_folder(self):
        self.refuse("name: pair", "name: ../pair", "no lab name")

    def test_a_bind_without_an_absolute_target(self):
        self.refuse("here/file:/run/file:ro", "here/file:run/file", "isn't an absolute path")

    def test_a_bind_with_an_unknown_option(self):
        self.refuse("/run/file:ro", "/run/file:z", "isn't SOURCE:TARGET")

    def test_a_command_with_an_open_quote(self):
        self.refuse("'echo one two'", "\\\"echo", "topology.nodes.a.exec")

    def test_a_variable_without_value_and_default(self):
        self.refuse("here/file", "${NOWHERE}/file", "NOWHERE isn't set")

    def test_a_shell_variable(self):
        self.refuse("echo one two", "echo $HOME", "a `$` that isn't ${NAME}")

    def test_a_file_without_nodes(self):
        with self.assertRaisesRegex(topology.TopologyError, "topology.nodes"):
            parse("name: x\ntopology: { nodes: {} }")

    def test_what_isn_t_yaml(self):
        with self.assertRaisesRegex(topology.TopologyError, "not YAML"):
            parse("name: [")

    def test_an_empty_file(self):
        with self.assertRaisesRegex(topology.TopologyError, "a mapping is needed"):
            parse("")

    def test_a_file_that_is_not_there(self):
        with self.assertRaisesRegex(topology.TopologyError, "No such file"):
            topology.load("/nowhere/x.clab.yml")


if __name__ == "__main__":
    unittest.main()

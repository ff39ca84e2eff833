"""`make demo`, `make lab-up` and `make lab-down` as a person runs them."""

import os
import re
import signal
import subprocess
import unittest
from pathlib import Path

from labkit.build import ROOT
from labkit.runner import LAB, PYTHON, STATE_ROOT, Lab

from traces import namespaces, wait_gone

DEMO = LAB.with_name("demo.py")
SECONDS = 180


class Tour(unittest.TestCase):
    def test_it_shows_every_stop_and_leaves_nothing(self):
        with start_demo() as demo:
            head = read_to(demo, "=== Sessions")
            spaces = namespaces(Lab.load(f"demo-{demo.pid}"))
            shown = head + demo.stdout.read()
        self.assertEqual(demo.returncode, 0, shown)
        self.assertEqual(len(spaces), 5)
        for text in (
            "show bgp summary", "64512:100", "nexthop via 198.51.100.18", "nexthop via 2001:db8:0:1::2",
            "explain default/reports", "notOwner", "gap that the client saw", "The lab is gone",
        ):
            with self.subTest(text=text):
                self.assertIn(text, shown)
        wait_gone(f"demo-{demo.pid}", spaces)

    def test_ctrl_c_and_worse_leave_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number.name), start_demo() as demo:
                read_to(demo, "=== Sessions")
                spaces = namespaces(Lab.load(f"demo-{demo.pid}"))
                self.assertEqual(len(spaces), 5)
                demo.send_signal(number)
                demo.stdout.read()
                wait_gone(f"demo-{demo.pid}", spaces)

    def test_the_standing_lab_answers_and_goes_away(self):
        name = f"standing-{os.getpid()}"
        self.addCleanup(lambda: Lab.load(name).down())
        done = subprocess.run([PYTHON, str(DEMO), "--up", name], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        command = re.search(r"(\S+ exec \S+ client curl -s http://\S+)", done.stdout).group(1)
        answer = subprocess.run(command.split(), cwd=ROOT, capture_output=True, text=True, timeout=30)
        self.assertRegex(answer.stdout, r"^n[123]\n$")
        subprocess.run([PYTHON, str(LAB), "down", name], check=True)
        self.assertFalse((STATE_ROOT / name).exists())

    def test_without_a_rust_toolchain_one_sentence_says_what_to_do(self):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"}
        if Path("/usr/bin/cargo").exists():
            environment["PATH"] = "/usr/sbin:/sbin"
        done = subprocess.run([PYTHON, str(DEMO)], cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.strip(), r"^demo: there is no Rust toolchain here: install Rust \S+ or newer from https://rustup.rs")


def start_demo():
    return subprocess.Popen([PYTHON, str(DEMO)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_to(process, text):
    """The output up to the line that contains `text`."""
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"the output ended before {text!r}:\n{read}")


if __name__ == "__main__":
    unittest.main()

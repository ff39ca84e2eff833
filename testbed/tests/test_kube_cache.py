"""What the Kubernetes lab makes once: whole or not at all, by one at a time; and the images that it writes. Without root."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from kube import build, cache, images, machine

TESTBED = Path(__file__).resolve().parents[1]
MAKER = """
import sys, time
from pathlib import Path
from kube import cache
def make(draft):
    with open(sys.argv[1], "a") as log:
        log.write("made\\n")
    (draft / "half").touch()
    print("begun", flush=True)
    time.sleep(float(sys.argv[2]))
    (draft / "whole").touch()
cache.folder("thing", "1", make)
"""


class Cache(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ferrolb-cache-")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        environment = mock.patch.dict(os.environ, {"FERROLB_KUBE_CACHE": str(self.root)})
        environment.start()
        self.addCleanup(environment.stop)

    def maker(self, seconds):
        argv = [sys.executable, "-c", MAKER, str(self.root / "log"), str(seconds)]
        maker = subprocess.Popen(argv, cwd=TESTBED, stdout=subprocess.PIPE, text=True)
        self.addCleanup(maker.stdout.close)
        return maker

    def test_a_thing_is_made_once_and_found_afterwards(self):
        made = cache.folder("thing", "1", lambda draft: (draft / "file").write_text("x", encoding="ascii"))
        self.assertEqual(cache.folder("thing", "1", self.fail), made)
        self.assertEqual((made / "file").read_text(encoding="ascii"), "x")
        self.assertNotEqual(cache.folder("thing", "2", lambda _draft: None), made)

    def test_a_maker_that_fails_leaves_nothing(self):
        def fails(draft):
            (draft / "half").touch()
            raise build.BuildError("no")

        with self.assertRaises(build.BuildError):
            cache.folder("thing", "1", fails)
        self.assertEqual([entry.name for entry in self.root.iterdir()], [".thing.lock"])

    def test_what_a_killed_maker_left_is_no_obstacle(self):
        maker = self.maker(60)
        self.assertEqual(maker.stdout.readline(), "begun\n")
        maker.send_signal(signal.SIGKILL)
        maker.wait()
        self.assertIsNone(cache.find("thing", "1"))
        made = cache.folder("thing", "1", lambda draft: (draft / "whole").touch())
        self.assertEqual([entry.name for entry in made.iterdir()], ["whole"])

    def test_two_that_want_the_same_make_it_once(self):
        makers = [self.maker(0.5) for _ in range(2)]
        self.assertEqual([maker.wait() for maker in makers], [0, 0])
        self.assertEqual((self.root / "log").read_text(encoding="ascii"), "made\n")

    def test_the_key_follows_contents_and_their_borders(self):
        self.assertEqual(cache.key("a", "b"), cache.key("a", "b"))
        self.assertNotEqual(cache.key("a", "b"), cache.key("ab"))
        file = self.root / "pin"
        file.write_text("1", encoding="ascii")
        before = cache.key(file)
        file.write_text("2", encoding="ascii")
        self.assertNotEqual(cache.key(file), before)


class Images(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ferrolb-images-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, files):
        target = self.folder / "image.tar"
        images.write(target, "localhost/thing:1", files, ["/bin/thing"])
        archive = tarfile.open(target)
        self.addCleanup(archive.close)
        return archive

    def test_an_archive_holds_what_its_manifest_says(self):
        program = self.folder / "program"
        program.write_bytes(b"\x7fELF")
        archive = self.write({"/bin/thing": program, "/etc/thing.conf": b"x", "/run/": None})
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        self.assertEqual(manifest["RepoTags"], ["localhost/thing:1"])
        config = json.load(archive.extractfile(manifest["Config"]))
        self.assertEqual(config["config"]["Entrypoint"], ["/bin/thing"])
        layer = archive.extractfile(manifest["Layers"][0])
        self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(layer.read()).hexdigest()}"])
        layer.seek(0)
        with tarfile.open(fileobj=layer) as inside:
            self.assertEqual({entry.name: entry.mode for entry in inside},
                             {"bin": 0o755, "bin/thing": 0o755, "etc": 0o755, "etc/thing.conf": 0o644, "run": 0o755})

    def test_the_same_files_give_the_same_bytes(self):
        self.write({"/a": b"x", "/b/c": b"y"})
        first = (self.folder / "image.tar").read_bytes()
        self.write({"/b/c": b"y", "/a": b"x"})
        self.assertEqual((self.folder / "image.tar").read_bytes(), first)

    def test_a_dynamic_program_brings_its_libraries_and_loader(self):
        files = images.program(Path(sys.executable), "/python")
        self.assertEqual(files["/python"], Path(sys.executable))
        names = [Path(name).name for name in files]
        self.assertIn("libc.so.6", names)
        self.assertTrue(any(name.startswith("ld-linux") for name in names), names)

    def test_a_binary_without_a_version_is_refused(self):
        with self.assertRaisesRegex(build.BuildError, "says no version"):
            images.ferrolb("/bin/false", self.folder / "image.tar")


class Lacking(unittest.TestCase):
    def test_the_pins_agree(self):
        self.assertRegex(build.version(), r"^v1\.\d+\.\d+$")

    def test_without_go_the_error_says_what_to_install(self):
        with mock.patch.object(build.shutil, "which", return_value=None), self.assertRaisesRegex(build.BuildError, "install Go 1"):
            build.go(["version"], build.TOOLS)

    def test_an_old_go_is_refused(self):
        old = subprocess.CompletedProcess([], 0, stdout="go version go1.19.8 linux/amd64\n")
        with mock.patch.object(build.subprocess, "run", return_value=old), mock.patch.object(build.shutil, "which", return_value="/go"):
            with self.assertRaisesRegex(build.BuildError, rf"go1\.19\.8 .* is too old: install Go {build.needed(build.TOOLS)} or newer"):
                build.go(["version"], build.TOOLS)

    def test_all_that_a_machine_lacks_is_named_at_once(self):
        with mock.patch.object(machine, "COMMANDS", ("no-such-command",)), mock.patch.object(machine, "MEMORY_MIB", 10**9):
            with self.assertRaisesRegex(machine.LabError, "(?s)no no-such-command.*MiB of memory"):
                machine.check()


if __name__ == "__main__":
    unittest.main()

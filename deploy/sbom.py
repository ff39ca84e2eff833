#!/usr/bin/python3
"""Writes a bill of materials of the shipped binary: CycloneDX 1.5, JSON, the same from the same Cargo.lock.

    deploy/sbom.py [--target TRIPLE] [--output FILE]

In it is what is linked for the target, by Cargo.lock: neither what only tests need nor what only builds, macros among that.
Beside the crates stand Rust's standard library and the C library, which a static binary carries too.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ferrolb"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default=f"{os.uname().machine}-unknown-linux-gnu", help="what the binary is for")
    parser.add_argument("--output", type=Path, help="by default sbom/ferrolb-TARGET.cdx.json among what cargo builds")
    options = parser.parse_args()
    metadata = json.loads(_run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", options.target))
    output = options.output or Path(metadata["target_directory"], "sbom", f"{PACKAGE}-{options.target}.cdx.json")
    document = bill(metadata, _tree(options.target), _checksums(), _libraries(), options.target)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{output}: {len(document['components'])} components")


def bill(metadata, tree, checksums, libraries, target):
    """The document.

    `tree`: name and version of what is linked; `checksums`: SHA-256 by name and version; `libraries`: name and version of
    what isn't a crate.
    """
    packages = {p["id"]: p for p in metadata["packages"] if (p["name"], p["version"]) in tree}
    linked = {node["id"]: [i for i in _linked(node) if i in packages] for node in metadata["resolve"]["nodes"]}
    root = next(i for i, package in packages.items() if package["name"] == PACKAGE)
    crates = sorted(packages.values(), key=lambda p: (p["name"], p["version"]))
    components = [_crate(package, checksums) for package in crates if package["id"] != root]
    others = [_library(name, version) for name, version in libraries]
    dependencies = [
        {"ref": _reference(package), "dependsOn": sorted(
            {_reference(packages[i]) for i in linked[package["id"]]} | ({o["bom-ref"] for o in others} if package["id"] == root else set())
        )}
        for package in crates
    ]
    content = {
        "components": components + others,
        "dependencies": dependencies + [{"ref": other["bom-ref"], "dependsOn": []} for other in others],
    }
    name = f"{target} {json.dumps(content, sort_keys=True)}"
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}",
        "metadata": {
            "component": {**_crate(packages[root], checksums), "type": "application"},
            "properties": [{"name": "ferrolb:target", "value": target}],
        },
        **content,
    }


def _linked(node):
    """The packages that a package is linked with: `kind` is null for these, `dev` or `build` for others."""
    return [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]


def _crate(package, checksums):
    component = {
        "type": "library", "bom-ref": _reference(package), "name": package["name"], "version": package["version"],
        "scope": "required", "purl": _reference(package),
    }
    if package.get("description"):
        component["description"] = " ".join(package["description"].split())
    if package.get("license"):
        # Older crates write a slash.
        component["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    digest = checksums.get((package["name"], package["version"]))
    if digest:
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package.get("repository"):
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def _reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def _library(name, version):
    reference = f"pkg:generic/{name}@{version}"
    return {"type": "library", "bom-ref": reference, "name": name, "version": version, "scope": "required", "purl": reference}


def _tree(target):
    """What cargo links: unlike `cargo metadata` it leaves out features that only tests turn on."""
    said = _run("cargo", "tree", "--locked", "--package", PACKAGE, "--edges", "normal,no-proc-macro", "--target", target,
                "--prefix", "none", "--format", "{p}")
    return {(name, version) for name, version in re.findall(r"^(\S+) v(\S+)", said, re.MULTILINE)}


def _checksums():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def _libraries():
    """Of the machine that builds."""
    rust = _run("rustc", "--version").split()[1]
    libc = _run("getconf", "GNU_LIBC_VERSION").split()[1]
    return [("rust-std", rust), ("glibc", libc)]


def _run(*argv):
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"sbom: there is no {argv[0]} here")
    if done.returncode != 0:
        sys.exit(f"sbom: `{' '.join(argv)}` failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()

"""The Dockerfile without an engine: its steps, run as root in a clean Debian made by debootstrap.

What is read is the Dockerfile itself, so that a step that fails in an engine fails here. Of the first stage only the
compilation is left out: the wheel was built on this machine, and its dependencies are downloaded for the interpreter of
that Debian. An instruction this file does not know fails the test.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.container.compose import pair
from tests.test_house import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
NEEDED = ("debootstrap", "chroot", "unshare", "mount")


def missing() -> str | None:
    """Why an image cannot be put together here, or None."""
    absent = [tool for tool in NEEDED if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not found: needed to run the image's steps without a container engine"
    return (
        None if os.getuid() == 0 else "the image's steps run in a root directory of their own, which only root can make"
    )


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile."""

    instruction: str
    text: str

    def words(self) -> list[str]:
        """The arguments, in JSON's form or in the shell's."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


def stages(text: str) -> list[list[Step]]:
    """The steps of each stage; arguments before the first stage are put in."""
    arguments: dict[str, str] = {}
    found: list[list[Step]] = []
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
            continue
        if instruction == "FROM":
            found.append([])
            rest = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], rest)
        found[-1].append(Step(instruction, rest.strip()))
    return found


@dataclass
class Image:
    """A root directory and what a container made of it starts with."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)

    def apply(self, step: Step, built: Image | None) -> None:
        """One step, as an engine does it."""
        match step.instruction:
            case "FROM":
                pass
            case "RUN":
                self.shell(step.text)
            case "COPY":
                self.copy(step.words(), built)
            case "ENV":
                self.environment.update(pair(word) for word in step.words())
            case "EXPOSE":
                self.ports += step.words()
            case "VOLUME":
                self.volumes += step.words()
            case "WORKDIR":
                self.workdir = step.text
                (self.root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = step.text
            case "STOPSIGNAL":
                assert step.text == "SIGTERM"
            case "HEALTHCHECK":
                self.health = json.loads(step.text.partition("CMD ")[2])
            case "ENTRYPOINT":
                self.entrypoint = step.words()
            case other:
                raise AssertionError(f"the Dockerfile has an instruction this test does not know: {other}")

    def copy(self, words: list[str], built: Image | None) -> None:
        """COPY [--from=build] source... target: a folder's content, or files into a folder."""
        source_root = ROOT
        if words[0] == "--from=build":
            assert built is not None
            source_root, words = built.root, words[1:]
        *sources, target = words
        place = self.root / target.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for source in sources:
            paths = sorted(source_root.glob(source.lstrip("/")))
            assert paths, f"{source} is not there"
            for path in paths:
                run("cp", "-a", f"{path}/." if path.is_dir() else str(path), str(place))

    def shell(self, script: str) -> None:
        """RUN: by the root's own shell, as the user of the image so far."""
        run(*self.command("/bin/sh", "-c", script), network=True)

    def command(self, *words: str, user: str | None = None) -> list[str]:
        """A command in this root, with the image's environment and nothing of ours but the proxies."""
        proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        environment |= proxies | self.environment
        return [
            *("chroot", f"--userspec={user or self.user}", str(self.root), "/usr/bin/env", "-i", "-C", self.workdir),
            *(f"{name}={value}" for name, value in environment.items()),
            *words,
        ]

    def start(
        self, variables: dict[str, str], mounts: dict[Path, str], output: Path, *words: str
    ) -> subprocess.Popen[bytes]:
        """A container: process 1 of its own process table, with folders mounted on paths of the image."""
        script = [f"mount -t proc proc {self.root}/proc"]
        script += [f"mount --bind {folder} {self.root}{place}" for folder, place in mounts.items()]
        kept, self.environment = self.environment, self.environment | variables
        script.append("exec " + shlex.join(self.command(*self.entrypoint, *words)))
        self.environment = kept
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        with output.open("wb") as out:
            return subprocess.Popen([*namespaces, "sh", "-ec", "\n".join(script)], stdout=out, stderr=out)

    def size_bytes(self) -> int:
        """What the root takes on the disk, without apt's own files, of which the published Debian images keep none."""
        return int(
            run(
                "du", "-sxB1", *(f"--exclude={self.root}/var/{name}/apt" for name in ("cache", "lib")), str(self.root)
            ).split()[0]
        )


def run(*command: str, network: bool = False) -> str:
    """A command that must succeed; one that uses the network may be tried twice."""
    for last in (False, True) if network else (True,):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert not last, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def clean_debian(folder: Path, release: str) -> Path:
    """A minimal Debian of that release."""
    run("debootstrap", "--variant=minbase", release, str(folder))
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", folder / "etc" / name)
    return folder


def copied(root: Path, folder: Path) -> Image:
    """An image that begins with a root."""
    run("cp", "-a", str(root), str(folder))
    return Image(folder)


def download_for(root: Path, wheel: Path) -> None:
    """Put the wheel and what it needs into /wheels, for the root's interpreter."""
    script = "import sys; print('%d%d' % sys.version_info[:2])"
    version = run("chroot", str(root), "python3", "-c", script).strip()
    tags = [
        "--implementation",
        "cp",
        "--python-version",
        version,
        "--abi",
        f"cp{version}",
        "--abi",
        "abi3",
        "--abi",
        "none",
    ]
    platforms = [f"--platform=manylinux_2_{minor}_{os.uname().machine}" for minor in (17, 24, 27, 28, 34)]
    platforms += [f"--platform=manylinux2014_{os.uname().machine}", f"--platform=linux_{os.uname().machine}"]
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(root / "wheels")),
        *(*tags, *platforms, f"{wheel}[cli]"),
        network=True,
    )
    shutil.copy(wheel, root / "wheels")


def put_together(folder: Path, wheel: Path) -> tuple[Image, int]:
    """Every step of the Dockerfile; the image, and how many bytes it adds to its Debian."""
    build_steps, image_steps = stages(DOCKERFILE.read_text())
    release = re.search(r"debian:(\w+)-slim", image_steps[0].text)
    assert release is not None
    assert f"-slim-{release[1]} AS build" in build_steps[0].text, "both stages are of one Debian release"
    base = clean_debian(folder / "base", release[1])
    before = Image(base).size_bytes()

    build = copied(base, folder / "build")
    for step in build_steps:
        if step.instruction == "RUN" and " pip wheel" in step.text.replace("/build/bin/", " "):
            make_environment, _, compilation = step.text.partition(" && ")
            assert compilation == "/build/bin/pip wheel --wheel-dir /wheels '.[cli]'"
            build.shell(make_environment)
            download_for(build.root, wheel)
        elif step != Step("COPY", ". ."):
            build.apply(step, None)

    image = copied(base, folder / "image")
    for step in image_steps:
        image.apply(step, build)
    shutil.rmtree(build.root)
    return image, image.size_bytes() - before

"""Docker images of Deadheat: a base, one toolchain image a language, one runtime image a set of packages, one an arm.

Where a registry answers, the base is pulled; elsewhere it is bootstrapped from Debian packages. Every image is named
by a hash of what it was made from, so an image that exists is the right one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import docker.errors

from tools import packages, temporary
from tools.errors import CommandError, RunnerError
from tools.languages.base import toolchains
from tools.model import Packages
from tools.process import check, clean_environment
from tools.runners import engine

APT_ENV = {"DEBIAN_FRONTEND": "noninteractive"}
MADE_AT_FIRST_START = {"libnginx-mod-nchan": "/var/lib/nginx/body"}
"""Folders that a package's program makes, whatever its configuration says, where our root is read-only."""
PYTHON_PATH = "/opt/python"
USER = 65534


@cache
def base() -> str:
    """The id of the Debian image that everything is built on.

    Raises:
        RunnerError: it can neither be pulled nor bootstrapped.
    """
    pin = toolchains()["base"]
    tag = f"deadheat/base:{pin['suite']}"
    if found := _existing(tag):
        return found
    with engine.explained("preparing the base image"), contextlib.suppress(docker.errors.APIError):
        engine.client().images.pull(pin["image"]).tag(tag)
        return str(engine.client().images.get(tag).id)
    _bootstrap(pin["suite"], tag)
    return str(engine.client().images.get(tag).id)


def toolchain(language: str, build: Packages) -> str:
    """The image that compiles a language, with the packages that a source needs besides."""
    pin = toolchains().get(language, {})
    apt = ["ca-certificates", *pin.get("apt", ()), *build.apt, *(["python3-pip"] if "pypi" in pin else [])]
    steps = [_apt(apt)]
    changes = []
    if "pypi" in pin:
        steps.append(
            ["pip", "install", "--quiet", "--root-user-action=ignore", "--target", f"/opt/{language}", pin["pypi"]]
        )
        changes.append(f"ENV PATH=/opt/{language}/{pin['bin']}:/usr/local/bin:/usr/bin:/bin")
    return _made(f"toolchain-{language}", steps, changes)


def runtime(run: Packages, *, python: bool) -> str:
    """The image that programs run in: the base, plus what a peer's own packages need."""
    if not (run.apt or run.pip or python):
        return base()
    wanted = [*run.apt, *(["python3"] if python or run.pip else []), *(["python3-pip"] if run.pip else [])]
    steps = [_apt(wanted), *(["mkdir", "-p", path] for name, path in MADE_AT_FIRST_START.items() if name in run.apt)]
    if run.pip:
        steps.append(["pip", "install", "--quiet", "--root-user-action=ignore", "--target", PYTHON_PATH, *run.pip])
        steps.append(["apt-get", "purge", "-y", "-qq", "--auto-remove", "python3-pip"])
    return _made("runtime", steps, [f"ENV PYTHONPATH={PYTHON_PATH}"] if run.pip else [])


@contextlib.contextmanager
def arm(image: str, slug: str, program: Path | None, launcher: Path) -> Iterator[str]:
    """An image with the launcher and one program; removed afterwards."""
    with engine.container(image, ["true"], start=False) as made:
        files = [
            engine.folder_entry("deadheat", 0),
            engine.entry("deadheat/launcher", launcher.read_bytes(), 0o755),
            *([engine.entry(f"deadheat/{slug}", program.read_bytes(), 0o755)] if program else []),
            engine.folder_entry("out", USER, 0o700),
            engine.folder_entry("data", 0),
        ]
        engine.upload(made, "/", iter(files))
        with engine.explained("making an arm's image"):
            found = made.commit(conf={"Labels": engine.labels()})
    try:
        yield str(found.id)
    finally:
        with contextlib.suppress(docker.errors.APIError):
            engine.client().images.remove(str(found.id), force=True)


def size_bytes(image: str) -> int:
    """Size of an image with all its layers."""
    return int(engine.client().images.get(image).attrs["Size"])


def _apt(names: Sequence[str]) -> list[str]:
    return ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *sorted(set(names))]


def _existing(tag: str) -> str | None:
    try:
        return str(engine.client().images.get(tag).id)
    except docker.errors.ImageNotFound:
        return None


def _made(name: str, steps: Sequence[Sequence[str]], changes: Sequence[str]) -> str:
    """The image that these commands make of the base, made once."""
    key = hashlib.sha256(repr((base(), steps, changes)).encode()).hexdigest()[:16]
    tag = f"deadheat/{name}:{key}"
    if found := _existing(tag):
        return found
    with engine.container(base(), ["sleep", "infinity"], start=True, init=True) as made:
        env = engine.give_network(made) | APT_ENV
        try:
            for step in (["apt-get", "update", "-qq"], *steps, ["rm", "-rf", "/var/lib/apt/lists", engine.CA_PATH]):
                engine.execute(made, step, env=env)
        except CommandError as error:
            raise RunnerError(f"image {name}: {error.message}", remedy=error.tail.strip()[-300:] or None) from error
        with engine.explained(f"making the image {name}"):
            conf = {"Labels": {engine.LABEL: "1", engine.CACHE: "1"}, "Cmd": ["true"]}
            repository, _, version = tag.partition(":")
            return str(made.commit(repository=repository, tag=version, changes=list(changes), conf=conf).id)


def _bootstrap(suite: str, tag: str) -> None:
    """Make the base from Debian's packages, where no registry answers."""
    packages.ensure(["mmdebstrap"], "the base image, where no registry answers,")
    with temporary.folder("base") as folder:
        archive = folder / "base.tar"
        try:
            check(["mmdebstrap", "--quiet", "--variant=minbase", suite, archive], env=clean_environment(network=True))
        except CommandError as error:
            raise RunnerError(
                f"no base image: {error.message}", remedy="log in to a registry, or use --runner host"
            ) from error
        with engine.explained("importing the base image"):
            repository, _, version = tag.partition(":")
            engine.client().api.import_image_from_file(str(archive), repository=repository, tag=version)

"""The Docker runner: build without a network from sources mounted read-only, run in one sealed container an arm.

A timed container has no network, a read-only root, no capabilities, one user without rights, and limits of memory,
processes and core. The launcher is its first process, so starting a container is never inside a number.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from docker.models.containers import Container
from docker.types import LogConfig, Ulimit

from tools import caches, languages
from tools.errors import BuildError, LauncherError, RunnerError
from tools.files import BUILD_OUTPUT
from tools.languages.base import Paths, Step
from tools.launcher import LauncherClient, LaunchReply, LaunchRequest, Rlimits, Started, Usage, build_launcher
from tools.model import Limits, Packages
from tools.runners import engine, images
from tools.runners.base import TOOLBOX, Isolation, Places, Program, Run, Source, Start, Workshop
from tools.runners.host import FIRST_PORT, PADDING_NAME, cores_of, listed, pinned_cpus, zig

PATHS = Paths(
    PurePosixPath("/src"), PurePosixPath("/work/out"), PurePosixPath("/work/scratch"), PurePosixPath("/cache")
)


def engine_answers() -> bool:
    """True when a Docker engine can be used."""
    return engine.answers()


class DockerRunner:
    """Build and run in containers."""

    name = "docker"

    def __init__(self) -> None:
        """Remove what killed runs left."""
        engine.sweep()

    def toolchain_key(self, source: Source) -> str:
        """The id of the image that compiles it."""
        return images.toolchain(source.language, source.build_packages)

    def provide(self, sources: Sequence[Source], apt: Iterable[str]) -> None:
        """Nothing: images hold what is needed."""

    @contextmanager
    def workshop(self, source: Source) -> Iterator[Workshop]:
        """One container with a network for fetching, one without for building, on the same volumes."""
        image = images.toolchain(source.language, source.build_packages)
        with ExitStack() as stack:
            src, work = stack.enter_context(engine.volume("src")), stack.enter_context(engine.volume("work"))
            cache_name = engine.cache_volume(source.language)
            loader = stack.enter_context(
                engine.container(image, ["true"], start=False, volumes={src: _mount("/src", "rw")})
            )
            engine.upload(loader, "/src", engine.tree(source.folder, BUILD_OUTPUT))
            volumes = {src: _mount("/src", "ro"), work: _mount("/work", "rw"), cache_name: _mount("/cache", "rw")}
            yield _DockerWorkshop(source, image, loader, volumes, stack)

    @contextmanager
    def arena(self, programs: Sequence[Program], data: Path, limits: Limits) -> Iterator[_DockerArena]:
        """One sealed container an arm, with the workload in a volume that is read-only for them."""
        launcher = build_launcher(zig(), caches.work("launcher"))
        with ExitStack() as stack:
            volume = stack.enter_context(engine.volume("data"))
            loader_mount = {volume: _mount("/data", "rw")}
            loader = stack.enter_context(engine.container(images.base(), ["true"], start=False, volumes=loader_mount))
            engine.upload(loader, "/data", engine.tree(data))
            arms: dict[str, _SealedArm] = {}
            for program in sorted(programs, key=lambda one: one.arm != TOOLBOX):
                source = program.built.source
                interpreter = languages.get(source.language).INTERPRETER if source.language else ()
                extra = program.packages
                wanted = Packages((*source.run_packages.apt, *extra.apt), (*source.run_packages.pip, *extra.pip))
                image = images.runtime(wanted, python=bool(interpreter) or program.python)
                image = stack.enter_context(images.arm(image, source.slug, program.built.binary, launcher))
                host = arms[TOOLBOX].container.id if TOOLBOX in arms else None
                place = _Place(image, volume, f"container:{host}" if host else "none", limits)
                arms[program.arm] = stack.enter_context(_sealed(place, program, interpreter))
            yield _DockerArena(arms, limits)

    def describe(self) -> dict[str, Any]:
        """Engine version and base image."""
        version = engine.client().version()
        name = f"Docker {version.get('Version', '?')}, API {version.get('ApiVersion', '?')}"
        return {"engine": name, "base_image": images.base(), "pinned_cpus": pinned_cpus()}


def _mount(path: str, mode: str) -> dict[str, str]:
    return {"bind": path, "mode": mode}


@cache
def _version(image: str, argv: tuple[str, ...]) -> str:
    """The compiler's own version line."""
    with engine.container(image, ["sleep", "infinity"], start=True, init=True, network_mode="none") as made:
        return engine.execute(made, argv).decode(errors="replace").splitlines()[0].strip()


class _DockerWorkshop:
    """Two containers over the volumes of one build; the one with a network exists only while something is fetched."""

    def __init__(
        self, source: Source, image: str, loader: Container, volumes: Mapping[str, Any], stack: ExitStack
    ) -> None:
        self._source, self._image, self._loader, self._volumes = source, image, loader, volumes
        command = ["sleep", "infinity"]
        self._builder = stack.enter_context(
            engine.container(image, command, start=True, init=True, network_mode="none", volumes=dict(volumes))
        )
        engine.execute(self._builder, ["mkdir", "-p", "/work/out", "/work/scratch", "/work/home"])

    @property
    def paths(self) -> Paths:
        return PATHS

    @property
    def toolchain(self) -> str:
        version = languages.get(self._source.language).VERSION
        return _version(self._image, version.argv)

    @property
    def image_digest(self) -> str | None:
        return self._image

    def run(self, step: Step) -> bytes:
        env = dict(step.env) | {"HOME": "/work/home"}
        if not step.network:
            return engine.execute(self._builder, step.argv, cwd="/src", env=env)
        command = ["sleep", "infinity"]
        with engine.container(self._image, command, start=True, init=True, volumes=dict(self._volumes)) as fetcher:
            env = engine.give_network(fetcher) | env
            return engine.execute(fetcher, step.argv, cwd="/src", env=env)

    def replace(self, name: str, content: bytes) -> None:
        engine.upload(self._loader, "/src", iter([engine.entry(name, content)]))

    def fetch(self, path: PurePosixPath) -> bytes:
        try:
            return engine.download(self._builder, str(path))[path.name]
        except (RunnerError, KeyError) as error:
            raise BuildError(f"{self._source.id}: the build left no {path.name}") from error


@dataclass(frozen=True)
class _SealedArm:
    """A running container with the launcher inside."""

    container: Container
    client: LauncherClient
    source: Source
    interpreter: tuple[str, ...]
    image: str


@dataclass(frozen=True)
class _Place:
    """What a sealed container is made of."""

    image: str
    data: str
    network: str
    limits: Limits


@contextmanager
def _sealed(place: _Place, program: Program, interpreter: tuple[str, ...]) -> Iterator[_SealedArm]:
    """A container with nothing but the program, the launcher and the data; ready when the launcher has said hello."""
    limits = place.limits
    with engine.volume("out") as out:
        options: dict[str, Any] = {
            "stdin_open": True,
            "user": f"{images.USER}:{images.USER}",
            "network_mode": place.network,
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": limits.processes,
            "mem_limit": limits.memory_bytes,
            "memswap_limit": limits.memory_bytes,
            "cpuset_cpus": listed(cores_of(program)),
            "tmpfs": {"/tmp": "size=256m,mode=1777"},  # noqa: S108 - a path inside the container
            "volumes": {place.data: _mount("/data", "ro"), out: _mount("/out", "rw")},
            "log_config": LogConfig(type="none"),
            "ulimits": [Ulimit(name="nofile", soft=limits.nofile, hard=limits.nofile)],
        }
        with engine.container(place.image, ["/deadheat/launcher", "--no-cgroup"], start=False, **options) as made:
            talk = engine.Conversation(made)
            try:
                with engine.explained("starting an arm"):
                    made.start()
                client = LauncherClient(talk.writer, talk.reader)
                yield _SealedArm(made, client, program.built.source, interpreter, place.image)
            finally:
                talk.close()


class _DockerArena:
    """The containers of all arms; what runs in them shares one loopback when there is a toolbox."""

    def __init__(self, arms: dict[str, _SealedArm], limits: Limits) -> None:
        self._arms = arms
        self._limits = limits
        self._ports: dict[str, int] = {}
        network = "internal" if TOOLBOX in arms else "none"
        self.isolation = Isolation(network, "container", "container", f"uid {images.USER}")

    def places(self, arm: str) -> Places:
        return Places("/data", "/out", f"/deadheat/{self._arms[arm].source.slug}", "/usr/bin/python3", self.port)

    def run(self, run: Run) -> LaunchReply:
        request = self._request(run.arm, run.command, run.args)
        environment = {**request.env, PADDING_NAME: "x" * run.padding_bytes}
        return self._arms[run.arm].client.run(
            replace(
                request,
                env=environment,
                stdin=f"/data/{run.stdin}" if run.stdin else "/dev/null",
                timeout_ms=int(run.timeout_seconds * 1000),
                stdout_cap_bytes=run.stdout_limit_bytes,
            )
        )

    def start(self, start: Start) -> Started | LaunchReply:
        request = self._request(start.arm, start.command, start.args)
        ready_ms = int(start.ready_timeout_seconds * 1000)
        asked = replace(request, ready=start.ready, ready_timeout_ms=ready_ms, drop_overflow=True)
        return self._arms[start.arm].client.start(asked)

    def _request(self, name: str, command: Sequence[str], args: Sequence[str]) -> LaunchRequest:
        """What both short and long-lived programs get."""
        arm = self._arms[name]
        words = self.places(name).apply([*(command or ("{program}",)), *args])
        if arm.interpreter and not command:
            words.insert(0, f"/usr/bin/{arm.interpreter[0]}")
        env = {"LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/tmp"}  # noqa: S108 - as above
        if words[0].startswith("/usr/bin/python"):
            env |= {"PYTHONPATH": images.PYTHON_PATH, "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108 - as above
        limits = Rlimits(nofile=self._limits.nofile)
        return LaunchRequest(argv=tuple(words), env=env, cwd="/out", rlimits=limits)

    def usage(self, arm: str, started: Started) -> Usage:
        return self._arms[arm].client.usage(started)

    def stop(self, arm: str, started: Started, signal: int, timeout_seconds: float) -> LaunchReply:
        client = self._arms[arm].client
        with suppress(LauncherError):  # it may have ended by itself, which `wait` tells
            client.signal(started, signal)
        return self.wait(arm, started, timeout_seconds)

    def wait(self, arm: str, started: Started, timeout_seconds: float) -> LaunchReply:
        return self._arms[arm].client.wait(started, int(timeout_seconds * 1000))

    def put(self, arm: str, files: Mapping[str, bytes]) -> None:
        entries: list[tuple[tarfile.TarInfo, bytes]] = []
        folders = {str(folder) for name in files for folder in PurePosixPath(name).parents} - {"."}
        entries += [engine.folder_entry(folder, images.USER) for folder in sorted(folders)]
        entries += [engine.entry(name, content) for name, content in files.items()]
        engine.upload(self._arms[arm].container, "/out", iter(entries))

    def port(self, name: str) -> int:
        return self._ports.setdefault(name, FIRST_PORT + len(self._ports))

    def outputs(self, arm: str) -> dict[str, bytes]:
        container = self._arms[arm].container
        found = {name.removeprefix("out/"): content for name, content in engine.download(container, "/out").items()}
        if found:
            engine.execute(container, ["find", "/out", "-mindepth", "1", "-delete"])
        return found

    def image_bytes(self, arm: str) -> int | None:
        return images.size_bytes(self._arms[arm].image)

    def image_digest(self, arm: str) -> str | None:
        return self._arms[arm].image

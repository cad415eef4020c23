"""What we make in a Docker engine goes away again, and what we send arrives."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker.errors
import pytest
from docker.models.containers import Container

from tools.caches import ROOT
from tools.errors import CommandError, RunnerError
from tools.runners import engine, images

needs_engine = pytest.mark.docker
SLEEP = ["sleep", "infinity"]


@pytest.fixture(scope="module")
def image() -> str:
    """The base image."""
    return images.base()


@pytest.fixture(scope="module")
def box(image: str) -> Iterator[Container]:
    """A running container without a network."""
    with engine.container(image, SLEEP, start=True, init=True, network_mode="none") as made:
        yield made


def exists(kind: str, name: str) -> bool:
    """Whether the engine still has it."""
    try:
        getattr(engine.client(), kind).get(name)
    except docker.errors.NotFound:
        return False
    return True


class FaultError(Exception):
    """Something goes wrong inside a context."""


@needs_engine
@pytest.mark.parametrize("fault", [FaultError, KeyboardInterrupt], ids=["exception", "Ctrl-C"])
def test_everything_is_removed_after_a_fault(image: str, fault: type[BaseException]) -> None:
    """Containers (running or not) and volumes are gone when their block is left by an exception."""
    seen: list[tuple[str, str]] = []

    def work() -> None:
        with (
            engine.volume("test") as volume,
            engine.container(image, SLEEP, start=True, volumes={volume: {"bind": "/x", "mode": "rw"}}) as running,
            engine.container(image, ["true"], start=False) as waiting,
        ):
            seen.extend([("volumes", volume), ("containers", str(running.id)), ("containers", str(waiting.id))])
            assert all(exists(*one) for one in seen)
            raise fault

    with pytest.raises(fault):
        work()
    assert [one for one in seen if exists(*one)] == []


@needs_engine
def test_container_that_does_not_start_is_removed(image: str) -> None:
    """A wrong command is one line about the engine, and no container stays."""
    before = {one.id for one in engine.client().containers.list(all=True, filters={"label": engine.LABEL})}
    with pytest.raises(RunnerError, match="Docker: starting a container") as caught:
        engine.container(image, ["/no/such/program"], start=True).__enter__()
    assert "\n" not in str(caught.value)
    mine = engine.client().containers.list(all=True, filters={"label": f"{engine.OWNER}={engine.owner()}"})
    assert {one.id for one in mine} <= before


@needs_engine
def test_arm_image_is_removed(image: str, tmp_path: Path) -> None:
    """The image of one arm lives as long as its arena."""
    (tmp_path / "program").write_bytes(b"x")
    program = tmp_path / "program"
    with images.arm(image, "job", program, program) as made:
        assert exists("images", made)
        assert images.size_bytes(made) > 0
    assert not exists("images", made)


OWNERS = [
    ("a process that is gone", f"{platform.node()}/999999999/1", True),
    ("a reused process number", f"{platform.node()}/{os.getpid()}/1", True),
    ("this process", engine.owner(), False),
    ("the first process", f"{platform.node()}/1/{engine._start_time(1)}", False),
    ("another machine", "elsewhere/999999999/1", False),
    ("a label of nobody", "", False),
    ("a label of another form", f"{platform.node()}/x/1", False),
]


@pytest.mark.parametrize(("owner", "orphan"), [row[1:] for row in OWNERS], ids=[row[0] for row in OWNERS])
def test_orphans_are_recognised(owner: str, orphan: bool) -> None:
    """Only what a dead process of this machine made is an orphan."""
    assert engine._is_orphan({engine.OWNER: owner}) is orphan


@needs_engine
def test_sweep_removes_what_the_dead_left_and_nothing_else(image: str) -> None:
    """Objects of a killed run go; those of a living one, of other machines, and the caches stay."""
    made: dict[str, list[tuple[str, str]]] = {"gone": [], "kept": []}
    client = engine.client()
    owners = {"gone": f"{platform.node()}/999999999/1", "kept": engine.owner()}
    try:
        for fate, owner in owners.items():
            labels = {engine.LABEL: "1", engine.OWNER: owner}
            volume = client.volumes.create(name=f"deadheat-test-{os.getpid()}-{fate}", labels=labels)
            container = client.containers.create(image, SLEEP, labels=labels)
            container.start()
            made[fate] = [("volumes", volume.name), ("containers", str(container.id))]
        cache = client.volumes.create(
            name=f"deadheat-test-{os.getpid()}-cache", labels={engine.LABEL: "1", engine.CACHE: "1"}
        )
        made["kept"].append(("volumes", cache.name))
        removed = engine.sweep()
        assert f"volume deadheat-test-{os.getpid()}-gone" in removed
        assert [one for one in made["gone"] if exists(*one)] == []
        assert [one for one in made["kept"] if not exists(*one)] == []
    finally:
        for kind, name in sorted([*made["gone"], *made["kept"]]):
            if exists(kind, name):
                getattr(client, kind).get(name).remove(force=True)


@needs_engine
def test_files_arrive_and_come_back(box: Container, tmp_path: Path) -> None:
    """Empty, large and executable files, and names of any script, are the same after a round trip."""
    content = {
        "empty": b"", "large.bin": os.urandom((1 << 20) + 7), "naïve 名前.txt": "größe\n".encode(),
        "deep/er/file with space": b"x" * 512, "n" * 120 + "/" + "m" * 120: b"long",
    }  # fmt: skip
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").chmod(0o700)
    (tmp_path / "link").symlink_to("large.bin")
    engine.execute(box, ["mkdir", "-p", "/box"])
    engine.upload(box, "/box", engine.tree(tmp_path))
    found = engine.download(box, "/box")
    assert {name.removeprefix("box/"): data for name, data in found.items()} == content | {"link": b""}
    assert engine.execute(box, ["stat", "-c", "%a", "/box/empty"]) == b"755\n"
    assert engine.execute(box, ["readlink", "/box/link"]) == b"large.bin\n"
    assert engine.download(box, "/box/empty") == {"empty": b""}


def test_ignored_names_are_not_sent(tmp_path: Path) -> None:
    """Build output stays at home, at any depth; links are never followed."""
    for name in ("src/main.go", "target/x", "src/target/y", "a.o"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "away").symlink_to("/etc")
    entries = {info.name: info.type for info, _ in engine.tree(tmp_path, ("target", "*.o"))}
    assert entries == {"src": tarfile.DIRTYPE, "src/main.go": tarfile.REGTYPE, "away": tarfile.SYMTYPE}


@needs_engine
def test_download_of_nothing_is_one_line(box: Container) -> None:
    """A path that is not there is a runner error that names it."""
    with pytest.raises(RunnerError, match="Docker: downloading /nowhere"):
        engine.download(box, "/nowhere")


@needs_engine
def test_failed_command_carries_its_last_words(box: Container) -> None:
    """Exit code and last line are in the message; the end of what it printed is kept aside."""
    with pytest.raises(CommandError) as caught:
        engine.execute(box, ["sh", "-c", "echo out; echo first >&2; echo last words >&2; exit 3"])
    assert str(caught.value).endswith("exit code 3: last words")
    assert caught.value.tail == "out\nfirst\nlast words\n"
    with pytest.raises(CommandError, match="false: exit code 1: no output"):
        engine.execute(box, ["false"])


@needs_engine
def test_command_gets_its_folder_and_environment(box: Container) -> None:
    """Only stdout comes back; the folder and the variables are those asked for."""
    script = 'echo "$NAME in $PWD"; echo noise >&2'
    assert engine.execute(box, ["sh", "-c", script], cwd="/tmp", env={"NAME": "me"}) == b"me in /tmp\n"  # noqa: S108 - inside


@needs_engine
def test_network_comes_with_the_ca_bundle(box: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's extra CA is put into a container that fetches, and every client is told where it is."""
    for name in (*engine.CA_VARIABLES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ca.pem").write_bytes(b"-- certificate --\n")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    monkeypatch.setenv("SSL_CERT_DIR", "/only/here")
    env = engine.give_network(box)
    assert {env[name] for name in engine.CA_VARIABLES} == {engine.CA_PATH}
    assert env["https_proxy"] == "http://proxy.invalid"
    assert "SSL_CERT_DIR" not in env
    assert engine.execute(box, ["cat", engine.CA_PATH]) == b"-- certificate --\n"


def test_network_without_a_bundle_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Paths of this machine never reach a container in which they do not exist."""
    for name in engine.CA_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
    env = engine.give_network(None)  # type: ignore[arg-type]  # nothing is uploaded
    assert not set(env) & set(engine.CA_VARIABLES)


def test_engine_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an engine there is one line with a remedy, and the choice of a runner says so."""
    engine.client.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    try:
        with pytest.raises(RunnerError, match=r"no Docker engine answers: .*use --runner host") as caught:
            engine.client()
        assert "\n" not in str(caught.value)
        assert not engine.answers()
    finally:
        engine.client.cache_clear()


@needs_engine
def test_what_a_cached_image_gave_is_not_a_cache(image: str, tmp_path: Path) -> None:
    """An arm's image made from a cached one is temporary, although images inherit labels."""
    (tmp_path / "program").write_bytes(b"x")
    program = tmp_path / "program"
    with engine.container(image, ["true"], start=False) as made:
        cached = str(made.commit(conf={"Labels": {engine.LABEL: "1", engine.CACHE: "1"}}).id)
    try:
        with images.arm(cached, "job", program, program) as arm:
            labels = engine.client().images.get(arm).labels
            assert not engine._is_cache(labels)
            assert labels[engine.OWNER] == engine.owner()
            assert engine._is_cache(engine.client().images.get(cached).labels)
    finally:  # the engine may have removed it with its child: it has no name
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.client().images.remove(cached, force=True)


NAMELESS = """\
import sys
from tools.runners import engine
labels = engine.labels()
print(engine.owner())
engine.client().volumes.create(labels=labels)
engine.client().containers.create(sys.argv[1], ["true"], labels=labels)
raise KeyboardInterrupt
"""


@needs_engine
def test_what_was_made_but_never_named_goes_at_exit(image: str) -> None:
    """Ctrl-C in the middle of a request: the engine made it, we never heard its id, and yet it goes."""
    done = subprocess.run([sys.executable, "-c", NAMELESS, image], cwd=ROOT, capture_output=True, check=False)
    owner: dict[str, str | list[str] | bool] = {"label": f"{engine.OWNER}={done.stdout.decode().strip()}"}
    assert b"KeyboardInterrupt" in done.stderr
    assert engine.client().containers.list(all=True, filters=owner) == []
    assert engine.client().volumes.list(filters=owner) == []

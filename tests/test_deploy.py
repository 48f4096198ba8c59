"""What stands in examples/deploy: each file is checked by the tool whose file it is, and most are run."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from managers import Manager
from needs import lacks, requires
from operating import configured
from processes import Programs, Servers, free_port, run, twistd, txgear, wait_until
from txgear._version import __version__
from txgear.runtime.config import RuntimeTable
from wirepeer import WirePeer

pytestmark = pytest.mark.txgear_only

DEPLOY: Final = Path(__file__).parent.parent / "examples" / "deploy"

#: Where the units say that txgear is.
INSTALLED: Final = "/opt/txgear/bin/twistd"


def of_python(program: str) -> str:
    """A program that the extra [test] has installed beside this Python."""
    path = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    lacks("" if path else f"there is no program {program}")
    return path or program


def accepts(*command: str | Path) -> str:
    """The tool has nothing to say against a file; what it says all the same."""
    done = run(command)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return (done.stdout + done.stderr).decode()


def refuses(*command: str | Path) -> None:
    """The tool looks, and does not nod through whatever it is given."""
    assert run(command).returncode != 0, command


def test_each_file_is_looked_at() -> None:
    """A file that is added is added here, with the tool that checks it."""
    known = {
        *("txgear.toml", "caddy/Caddyfile", "haproxy/haproxy.cfg", "logrotate/txgear"),
        *("docker/Dockerfile", "docker/Dockerfile.dockerignore", "docker/compose.yaml"),
        "docker/Dockerfile.workers",
        *(f"cluster/{name}" for name in ("compose.yaml", "Dockerfile", "patroni.yaml")),
        *(f"cluster/{name}" for name in ("patroni.sh", "database.sh", "healthy.py")),
        *("nginx/txgear.conf", "nginx/stream.conf", "supervisor/txgear.conf", "supervisor/worker.conf"),
        *(f"systemd/txgear{end}" for end in (".service", "@.service", ".socket", ".service.d/socket.conf")),
        "systemd/txgear-worker.service",
        *(
            f"kubernetes/{name}.yaml"
            for name in ("configmap", "deployment-postgresql", "poddisruptionbudget")
        ),
        *(f"kubernetes/{name}.yaml" for name in ("secret", "service", "statefulset", "workers")),
    }
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith("debian/")} == known


# The server's own


def test_configuration() -> None:
    assert "mistake" not in accepts(*txgear(), "config", "check", DEPLOY / "txgear.toml")
    config = f"--config={DEPLOY / 'txgear.toml'}"
    allowed = accepts(*txgear(), "access", "check", config, "network", "metrics")
    assert "allowed" in allowed


# systemd


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with what they look for."""
    folder = tmp_path / "units"
    shutil.copytree(DEPLOY / "systemd", folder)
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text().replace(INSTALLED, shutil.which("true") or "")
            path.write_text(re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE))
    (folder / "txgear@.service").rename(folder / "txgear@a.service")
    return folder


def test_units(units: Path) -> None:
    """systemd finds nothing to mend."""
    tool = requires("systemd-analyze")
    plain = units.with_name("plain")
    shutil.copytree(units, plain)
    shutil.rmtree(plain / "txgear.service.d")
    for folder, names in (
        (plain, ["txgear.service", "txgear@a.service", "txgear-worker.service"]),
        (units, ["txgear.service", "txgear.socket"]),
    ):
        done = run(
            [tool, "verify", "--man=no", *(folder / name for name in names)],
            env={"SYSTEMD_UNIT_PATH": f"{folder}:"},
        )
        said = [line for line in done.stderr.decode().splitlines() if "txgear" in line]
        assert (said, done.returncode) == ([], 0), done
    broken = plain / "txgear.service"
    broken.write_text(broken.read_text().replace("Type=notify", "Type=notified"))
    assert b"notified" in run([tool, "verify", "--man=no", broken]).stderr


def test_units_can_do_little(units: Path) -> None:
    """In tenths of what systemd calls exposure; a unit without such settings has 96."""
    tool = requires("systemd-analyze")
    for name in ("txgear.service", "txgear@a.service", "txgear-worker.service"):
        accepts(tool, "--no-pager", "security", "--offline=yes", "--threshold=20", units / name)


def test_units_are_alike() -> None:
    """The two services differ in what makes the pair, and in nothing else."""
    alone, paired = (
        (DEPLOY / "systemd" / name).read_text().splitlines() for name in ("txgear.service", "txgear@.service")
    )
    added = [line for line in paired if line not in alone and not line.startswith(("#", "Description="))]
    gone = [line for line in alone if line not in paired and not line.startswith(("#", "Description="))]
    assert [line.partition("=")[0] for line in added] == ["RuntimeDirectoryPreserve", "ExecStart"]
    assert [line.partition("=")[0] for line in gone] == ["ExecStart"]


def test_a_runtime_as_a_service(start_server: Servers, programs: Programs, tmp_path: Path) -> None:
    """What the unit starts is a runtime that tells systemd that it is ready, and it has time to stop."""
    text = (DEPLOY / "systemd" / "txgear-worker.service").read_text()
    settings = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    assert float(settings["TimeoutStopSec"]) > RuntimeTable(group={}).stop_timeout
    (tmp_path / "jobs.py").write_text(
        'from txgear.runtime import function\n\n@function("deployed")\ndef deployed(job):\n    return b""\n'
    )
    config = tmp_path / "workers.toml"
    server = start_server()
    config.write_text(
        f'servers = ["127.0.0.1:{server.port}"]\nmodules = ["jobs"]\n[group.a]\nprocesses = 1\n'
    )
    command = settings["ExecStart"].replace("/etc/txgear/workers.toml", str(config)).split()
    assert command[0] == INSTALLED
    manager = Manager(tmp_path)
    runtime = programs.start([*twistd(), *command[1:]], env=manager.environ(watchdog=30.0))
    assert manager.until("READY")["STATUS"].startswith("1 process, 1 of them ready")
    runtime.signal(signal.SIGTERM)
    manager.until("STOPPING")
    assert runtime.wait() == 0, runtime.log()
    manager.close()


# Containers


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.workers"])
def test_dockerfile(name: str) -> None:
    tool = of_python("hadolint")
    accepts(tool, DEPLOY / "docker" / name)


def test_dockerfile_s_commands(programs: Programs, tmp_path: Path) -> None:
    """What the image runs is a server, and its health check finds it, and finds it gone."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    found = re.findall(r"^(?:ENTRYPOINT|CMD|HEALTHCHECK .* CMD) (\[.*\])$", text, re.MULTILINE)
    check, entry, command = map(json.loads, found)
    port = free_port()
    assert (entry[0], check[0]) == ("twistd", "txgear")
    server = programs.start(
        [*twistd(), *entry[1:], *command, f"--port={port}"], env={"STATE_DIRECTORY": str(tmp_path)}
    )
    server.comes_up()
    healthy = [*txgear(), *check[1:], f"127.0.0.1:{port}"]
    assert run(healthy).returncode == 0
    # STOPSIGNAL
    assert server.stop() == 0
    assert run(healthy).returncode == 1


def test_commands_of_the_workers_dockerfile(programs: Programs, tmp_path: Path) -> None:
    """What the image runs is a runtime, and its health check finds it, and finds it gone."""
    port = str(free_port())
    text = (DEPLOY / "docker" / "Dockerfile.workers").read_text().replace("9180", port)
    found = re.findall(r"^(?:ENTRYPOINT|CMD|HEALTHCHECK .* CMD) (\[.*\])$", text, re.MULTILINE)
    check, entry, command = map(json.loads, found)
    assert (entry[0], check[0]) == ("txgear", "python")
    (tmp_path / "workers.toml").write_text(
        f'servers = ["127.0.0.1:1"]\nhealth = "127.0.0.1:{port}"\n[group.a.function.wc]\ncommand = ["wc"]\n'
    )
    runtime = programs.start([*txgear(), *entry[1:], *(str(tmp_path / word) for word in command)])
    wait_until(lambda: b"health is told" in runtime.stdout, what="a runtime")
    healthy = [sys.executable, *check[1:]]
    assert run(healthy).returncode == 0
    # STOPSIGNAL
    assert runtime.stop() == 0
    assert run(healthy).returncode == 1


def test_dockerignore() -> None:
    """The build's context has what pyproject.toml names, and not the whole checkout."""
    lines = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert kept == {"LICENSE", "README.md", "pyproject.toml", "twisted", "txgear"}
    assert "*" in lines


def test_compose() -> None:
    tool = of_python("check-jsonschema")
    accepts(tool, "--builtin-schema", "vendor.compose-spec", DEPLOY / "docker" / "compose.yaml")


def test_no_secret_on_a_command_line() -> None:
    folders = (DEPLOY / name for name in ("docker", "kubernetes", "cluster"))
    for path in (path for folder in folders for path in folder.iterdir()):
        assert not re.search(r"(mysql|mariadb|postgresql)://[^@\s/]*:", path.read_text()), path


@pytest.mark.parametrize("path", sorted((DEPLOY / "kubernetes").glob("*.yaml")), ids=lambda path: path.stem)
def test_kubernetes(path: Path, tmp_path: Path) -> None:
    tool = of_python("kubernetes-validate")
    accepts(tool, "--strict", path)
    other = tmp_path / path.name
    other.write_text(path.read_text().replace("\nmetadata:", "\nmetadatas:", 1))
    refuses(tool, "--strict", other)


def test_kubernetes_configuration(tmp_path: Path) -> None:
    """The file in the ConfigMap is one that the server takes."""
    text = (DEPLOY / "kubernetes" / "configmap.yaml").read_text().partition("txgear.toml: |\n")[2]
    path = tmp_path / "txgear.toml"
    path.write_text("\n".join(line[4:] for line in text.splitlines()))
    accepts(*txgear(), "config", "check", path)


# Supervisors, and logs


def test_supervisor(programs: Programs, tmp_path: Path) -> None:
    """It starts the server, which drains when it is stopped; the workers' file is understood as well."""
    daemon, control = of_python("supervisord"), of_python("supervisorctl")
    port = free_port()
    (tmp_path / "conf.d").mkdir()
    text = (DEPLOY / "supervisor" / "txgear.conf").read_text()
    for old, new in (
        (INSTALLED, twistd()[0]),
        ("txgear --config", f"txgear --port={port} --web= --config"),
        ("/etc/txgear/txgear.toml", str(DEPLOY / "txgear.toml")),
        ("/var/lib/txgear", str(tmp_path)),
        ("/var/log/txgear.log", str(tmp_path / "log")),
        ("user=txgear\n", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "conf.d" / "txgear.conf").write_text(text)
    worker = (
        (DEPLOY / "supervisor" / "worker.conf").read_text().replace("user=www-data\n", "autostart=false\n")
    )
    (tmp_path / "conf.d" / "worker.conf").write_text(worker)
    sock, main = tmp_path / "sock", tmp_path / "supervisord.conf"
    main.write_text(
        f"[unix_http_server]\nfile={sock}\n[supervisorctl]\nserverurl=unix://{sock}\n"
        f"[supervisord]\nnodaemon=true\nlogfile={tmp_path / 'own.log'}\npidfile={tmp_path / 'pid'}\n"
        f"childlogdir={tmp_path}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        "[include]\nfiles = conf.d/*.conf\n"
    )
    supervisor = programs.start([daemon, "-c", main])
    try:
        wait_until(lambda: (tmp_path / "log").exists() and "is ready" in (tmp_path / "log").read_text())
        wait_until(lambda: b"RUNNING" in run([control, "-c", main, "status", "txgear"]).stdout)
        listed = run([control, "-c", main, "status"]).stdout.decode()
        assert listed.count("resize:resize_") == 4
        with WirePeer(port) as peer:
            assert peer.sync() == []
        assert b"txgear: stopped" in run([control, "-c", main, "stop", "txgear"]).stdout
        assert "draining" in (tmp_path / "log").read_text()
    finally:
        assert supervisor.stop() == 0


def test_logrotate(start_server: Servers, tmp_path: Path) -> None:
    """Both logs are rotated, and the server goes on in new ones."""
    tool = requires("logrotate")
    accepts(tool, "--debug", "--state", tmp_path / "state", DEPLOY / "logrotate" / "txgear")
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    server = start_server(
        f"--log-file={logs / 'server.log'}",
        f"--audit-log={logs / 'audit.log'}",
        *configured(tmp_path, (DEPLOY / "txgear.toml").read_text()),
    )
    text = (DEPLOY / "logrotate" / "txgear").read_text()
    assert "systemctl reload txgear" in text
    text = text.replace("systemctl reload txgear", f"kill -HUP {server.pid}").replace(
        "/var/log/txgear", str(logs)
    )
    path = tmp_path / "rotate"
    path.write_text(text)
    path.chmod(0o600)
    before = (logs / "server.log").read_text()
    accepts(tool, "--force", "--state", tmp_path / "state", path)
    wait_until(lambda: (logs / "server.log").exists() and (logs / "audit.log").exists(), what="the new files")
    assert (logs / "server.log.1").read_text().startswith(before)
    wait_until(lambda: "read again" in (logs / "server.log").read_text(), what="the reload")
    assert '"act":"reload"' in (logs / "audit.log").read_text()


# Releases


def test_one_version() -> None:
    """The version stands in one file; what needs it reads it there."""
    root = DEPLOY.parent.parent
    version = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])")
    paths = [root / "pyproject.toml", root / "Makefile"]
    for folder in ("txgear", "twisted", "examples", ".ci"):
        paths += [path for path in (root / folder).rglob("*") if path.is_file() and "test" not in path.parts]
    texts = {
        path: path.read_text("utf-8", "replace") for path in paths if path.suffix not in (".pyc", ".cache")
    }
    holders = [str(path.relative_to(root)) for path, text in texts.items() if version.search(text)]
    assert holders == ["txgear/_version.py"]
    assert accepts(*txgear(), "--version") == f"txgear {__version__}\n"

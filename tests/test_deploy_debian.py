"""The recipe of a Debian package: built, installed, asked and purged, on a copy of this machine's files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from needs import lacks, requires
from processes import free_port, run

pytestmark = pytest.mark.txgear_only

ROOT: Final = Path(__file__).parent.parent

#: Seconds for the build, most of which is pip's.
BUILDING: Final = 300.0

#: What is written there goes to memory, and is gone with the process: nothing of this machine changes.
COPY: Final = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/written" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/written,workdir=$1/work" "$1/root"
mount -t tmpfs tmpfs "$1/root/run"
mount --bind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
shift
exec chroot "$@"
"""

#: What an administrator does, in a file system of its own.
TRY: Final = r"""
set -e
package=$1 source=$2 port=$3
rm -rf /var/lib/txgear
dpkg --install "$package"
! grep -rIq "$source" /usr/lib/txgear

# The command of the unit, as the unit's user, with the folder of the store that the package has made.
command=$(sed -n 's/^ExecStart=\(.*\) [$]TXGEAR_OPTIONS$/\1/p' /lib/systemd/system/txgear.service)
STATE_DIRECTORY=/var/lib/txgear setpriv --reuid=txgear --regid=txgear --clear-groups \
    $command --port="$port" --web= >/var/tmp/txgear.log 2>&1 &
server=$!
for _ in $(seq 100); do
    ! txgear ping "127.0.0.1:$port" || break
    kill -0 $server || break
    sleep 0.1
done
cat /var/tmp/txgear.log
txgear ping "127.0.0.1:$port"
test -e "/var/lib/txgear/jobs-$port.sqlite"
! grep -q "Unable to write" /var/tmp/txgear.log
kill $server
wait $server

test -z "$(dpkg --verify txgear)"
dpkg --remove txgear
# The configuration and the jobs are there still.
test -e /etc/txgear/txgear.toml
test "$(stat --format=%a:%U /var/lib/txgear)" = 700:txgear
dpkg --purge txgear
for left in /usr/lib/txgear /usr/bin/txgear /etc/txgear /etc/default/txgear /var/lib/txgear; do
    ! ls -d $left
done
echo "all of it"
"""


def test_package(tmp_path: Path) -> None:
    builder = requires("dpkg-buildpackage")
    requires("dh")
    if os.geteuid() != 0:
        pytest.skip("only root can install a package")
    found = run(["/usr/bin/python3", "-c", "import ensurepip, venv"])
    lacks("Debian's Python makes no virtual environments" if found.returncode else "")
    place = tmp_path / "copy"
    place.mkdir()
    isolated: list[str | Path] = ["unshare", "--mount", "sh", "-c", COPY, "sh", place, place / "root"]
    possible = run([*isolated, "true"])
    if possible.returncode != 0:
        pytest.skip(f"no file system can be laid over another here: {possible.stderr.decode().strip()}")

    source = tmp_path / "txgear"
    (source / "examples").mkdir(parents=True)
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "dropin.cache", "test")
    for name in ("txgear", "twisted", "examples/deploy"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    # As the page says.
    shutil.copytree(source / "examples" / "deploy" / "debian", source / "debian")
    env = {"PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip")}
    build = [builder, "--build=binary", "--unsigned-changes"]
    done = run(build, cwd=source, env=env, timeout=BUILDING)
    assert done.returncode == 0, done.stdout.decode()[-4000:] + done.stderr.decode()[-4000:]
    [package] = tmp_path.glob("txgear_*.deb")
    depends = run(["dpkg-deb", "--field", package, "Depends"]).stdout
    assert b"python3 (>= 3." in depends

    tried = run([*isolated, "sh", "-c", TRY, "sh", package, source, str(free_port())], timeout=90.0)
    assert tried.returncode == 0, tried.stdout.decode() + tried.stderr.decode()
    assert tried.stdout.endswith(b"all of it\n")

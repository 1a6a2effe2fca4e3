"""The system commands of the recipe for Debian, on a directory in place of the machine's root.

What changes the machine itself is replaced: `apt-get` and `useradd` do nothing, `runuser` and `setpriv` run their
command, `certbot` signs certificates itself, and `systemctl` and `nginx` use the files that the recipe has installed.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.deploy.proxies import NGINX

PATHS: Final = (
    "/opt/intelligence-gateway",
    "/etc/intelligence-gateway",
    "/etc/systemd",
    "/etc/nginx",
    "/etc/letsencrypt",
)
PATHS_OF_OTHERS: Final = ("/var/www",)
NOTHING: Final = "#!/bin/sh\nexit 0\n"
RUN: Final = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do
    case $1 in --) ;; --init-groups) ;; *) shift ;; esac
    shift
done
exec "$@"
"""
CERTBOT: Final = """#!/bin/sh
set -e
for word; do case $previous in -d) names="$names $word" ;; -w) test -d "$word" ;; esac; previous=$word; done
set -- $names
mkdir -p "ROOT/etc/letsencrypt/live/$1"
cd "ROOT/etc/letsencrypt/live/$1"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout privkey.pem -out fullchain.pem 2> log
sleep 2
"""
"""As the real one it takes seconds. Within one, workers accept the key that the recipe has made before."""
NGINX_COMMAND: Final = '#!/bin/sh\nexec REAL -e stderr -p ROOT -c ROOT/etc/nginx/nginx.conf "$@" 2>> ROOT/nginx.log\n'
SYSTEMCTL: Final = """#!PYTHON
import os, pathlib, shlex, signal, subprocess, sys
root = pathlib.Path("ROOT")
action, name = sys.argv[1], sys.argv[-1]
if action == "daemon-reload":
    sys.exit()
pid = root / f"{name}.service.pid"
if action == "reload":
    if not pid.exists():
        command, directory, environment = ["nginx"], root, dict(os.environ)
    else:
        sys.exit(os.kill(int(pid.read_text()), signal.SIGHUP))
else:
    unit = (root / f"etc/systemd/system/{name}.service").read_text()
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and line[0] != "#")
    directory = settings["WorkingDirectory"]
    lines = pathlib.Path(settings["EnvironmentFile"]).read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    environment = {"PATH": os.defpath, "DRAIN_SECONDS": "0", **given}
    subprocess.run(shlex.split(settings["ExecStartPre"]), cwd=directory, env=environment, check=True)
    command = shlex.split(settings["ExecStart"])
with (root / f"{name}.log").open("wb") as log:
    options = {"cwd": directory, "env": environment, "stdout": log, "stderr": log, "start_new_session": True}
    pid.write_text(str(subprocess.Popen(command, stdin=subprocess.DEVNULL, **options).pid))
"""


def install_commands(root: Path) -> Path:
    """Write them. Returns their directory, which must be first in PATH."""
    directory = root / "bin"
    directory.mkdir()
    python, nginx = sys.executable, shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    commands = {
        "apt-get": NOTHING,
        "useradd": NOTHING,
        "runuser": RUN,
        "setpriv": RUN,
        "certbot": CERTBOT,
        "nginx": NGINX_COMMAND,
        "systemctl": SYSTEMCTL,
    }
    for name, text in commands.items():
        file = directory / name
        file.write_text(text.replace("ROOT", str(root)).replace("PYTHON", python).replace("REAL", nginx))
        file.chmod(0o755)
    return directory


def install_packages(root: Path) -> None:
    """The directories and files that the packages of the recipe bring."""
    for name in ("etc/systemd/system", "etc/nginx/snippets", "etc/nginx/sites-available", "etc/nginx/sites-enabled"):
        (root / name).mkdir(parents=True)
    (root / "var/www/html").mkdir(parents=True)
    user = "user root;" if os.geteuid() == 0 else ""
    text = NGINX.format(directory=root, user=user).replace(f"{root}/site.conf", f"{root}/etc/nginx/sites-enabled/*")
    (root / "etc/nginx/nginx.conf").write_text(text)


def moved(text: str, root: Path) -> str:
    """The text with the directory in place of the machine's root."""
    names = "|".join(map(re.escape, PATHS))
    return re.sub(rf"(?<![\w.}}])(?={names})", str(root), text)

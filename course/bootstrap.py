"""Make .venv from the lock: what every `make` target runs first.

Only the standard library is here yet, and perhaps an old Python, which must still
be told what is missing: keep to the syntax of Python 3.6, and up to `find_python`
to its library.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "course-setup.json")
LOCK = os.path.join(ROOT, "requirements.txt")
PROJECT = os.path.join(ROOT, "pyproject.toml")
BUNDLE = os.path.join(ROOT, "bundle")  # only in a folder for a room without a network
UV_PIP = [os.path.join(VENV, "bin", "uv"), "pip"]
INTO_VENV = ["--python", VENV_PYTHON]  # not into an environment that is active elsewhere

OLDEST_PYTHON = (3, 11)
OTHER_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3.14")
NEEDED_DISK_GB = 2

HOW_TO_GET_PYTHON = """\
Get a newer one, then run the same command again:
  Debian 12 or later, Ubuntu 24.04 or later:
      sudo apt-get update && sudo apt-get install -y python3 python3-venv
  macOS with Homebrew:
      brew install python@3.13
  any system with conda:
      conda env create -f environment.yml, then activate it"""

NETWORK_HELP = """\
{} check the connection; behind a proxy set HTTPS_PROXY;
where you have a package index of your own: pip config set global.index-url ADDRESS.
Then run the same command again: what was downloaded is kept."""
BUNDLE_HELP = """\
Packages come from the folder bundle/ here. `cd bundle && sha256sum --check --quiet SHA256SUMS`
names files that are damaged or missing: then unpack the archive again.
Then run the same command again."""
NETWORK_FAULT = re.compile(
    r"connect|resolv|resolution|dns error|timed out|timeout|unreachable|certificate"
    r"|proxy|error sending request|from versions: none",
    re.IGNORECASE,
)


class Stop(Exception):
    """A foreseen fault; its message says what is wrong and what to do."""


def main() -> int:
    """Bring .venv up to date; the exit code is 2 where the user has to act."""
    try:
        if not is_up_to_date():
            find_python()
            wait_for_others()
            set_up()
    except Stop as fault:
        print(f"setup: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: stopped. Run the same command again to finish it.", file=sys.stderr)
        return 130
    return 0


def set_up() -> None:
    """Make .venv, or update the one that is there."""
    there = read_stamp()
    if there.get("made for") != identity():
        check_disk()
        get_venv_module()
        source = "from bundle/" if read_bundle() else f"{download_size()} to download"
        say(f"Making .venv: {source}, {NEEDED_DISK_GB} GB of disk.")
        # It may be half made: it starts anew, and what was downloaded for it comes
        # from uv's cache.
        run("venv", [sys.executable, "-m", "venv", "--clear", VENV])
        there = {}
    elif there == wanted():
        return  # another setup did it while this one waited
    else:
        say("The project has changed: updating .venv. Only what differs is downloaded.")
    done = wanted()
    if there.get(LOCK) != done[LOCK]:
        with contextlib.suppress(FileNotFoundError):
            os.remove(STAMP)
        install_packages()
        write_stamp(dict(done, **{PROJECT: "not yet"}))
    install_project()
    write_stamp(done)
    say("The environment is ready.")


# --- Is there anything to do? ---------------------------------------------------


def is_up_to_date() -> bool:
    """Whether .venv holds what the project says, works, and was made at this place."""
    return read_stamp() == wanted()


def wanted() -> Dict[str, str]:
    """What a complete setup of this project, by the Python in .venv, notes."""
    return {"made for": identity(), LOCK: fingerprint(LOCK), PROJECT: fingerprint(PROJECT)}


def read_stamp() -> Dict[str, str]:
    """What the last setup noted; empty where none came far enough."""
    try:
        with open(STAMP) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def write_stamp(done: Dict[str, str]) -> None:
    """Note what is done."""
    with open(STAMP, "w") as file:
        json.dump(done, file)


def fingerprint(path: str) -> str:
    """A hash of a file."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def identity() -> str:
    """Where .venv is, and the Python that runs in it.

    Its scripts carry its path, and its packages lie in a folder named after the
    version: after a move of the project, or an upgrade of the system's Python, it
    has to be made again.
    """
    return f"{VENV}, Python {python_version(VENV_PYTHON)}"


def python_version(python: str) -> Tuple[int, ...]:
    """The version of an interpreter, such as (3, 13); empty where it does not run."""
    # A name on PATH need not run: pyenv puts one there for each version it knows.
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        shown = output_of([python, "-I", "-S", "-c", code])
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(int(part) for part in shown.split("."))


# --- What the machine must have -------------------------------------------------


def find_python() -> None:
    """Go on with a Python that suits; another one takes over this process."""
    bundle = read_bundle()
    here = f"{platform.system()} {platform.machine()}"
    if bundle and bundle["machine"] != here:
        raise Stop(
            f"this bundle is for {bundle['machine']}, and this machine is {here}.\n"
            "Make one with `course bundle` on a machine like this."
        )
    if suits(sys.version_info[:2], bundle):
        return
    for name in (VENV_PYTHON, *OTHER_PYTHONS):
        path = shutil.which(name)
        if path and suits(python_version(path), bundle):
            os.execv(path, [path, os.path.abspath(__file__)])  # noqa: S606
    needed = "%d.%d" % OLDEST_PYTHON
    found = "%d.%d.%d" % sys.version_info[:3]
    if bundle:
        raise Stop(
            f"this bundle is for Python {' or '.join(bundle['pythons'])}. `python3` is "
            f"Python {found} ({sys.executable}).\n"
            "Install one of those; `course bundle --python VERSION` makes one for another."
        )
    raise Stop(
        f"Python {needed} or later is needed. `python3` is Python {found} "
        f"({sys.executable}), and none of {', '.join(OTHER_PYTHONS)} is there.\n"
        f"{HOW_TO_GET_PYTHON}"
    )


def suits(version: Tuple[int, ...], bundle: Dict[str, Any]) -> bool:
    """Whether a Python is new enough, and one of those that a bundle has packages for."""
    name = ".".join(str(part) for part in version)
    return version >= OLDEST_PYTHON and name in bundle.get("pythons", [name])


def read_bundle() -> Dict[str, Any]:
    """What the bundle here says of itself; empty where there is none."""
    try:
        with open(os.path.join(BUNDLE, "about.json")) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def check_disk() -> None:
    """Stop where the environment would not fit."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < NEEDED_DISK_GB:
        raise Stop(
            f"the environment needs {NEEDED_DISK_GB} GB of disk, and only {free_gb:.1f} GB "
            f"are free where {ROOT} lies.\nMake room, then run the same command again."
        )


def get_venv_module() -> None:
    """Make sure that this Python can make environments; a bare Debian's cannot."""
    if has_venv_module():
        return
    problem = f"Python at {sys.executable} comes without venv or ensurepip"
    package = debian_package()
    if not package:
        raise Stop(f"{problem}.\n{HOW_TO_GET_PYTHON}")
    if os.geteuid() != 0:
        command = f"sudo apt-get update && sudo apt-get install -y {package}"
        raise Stop(f"{problem}. Run\n    {command}\nthen run the same command again.")
    update = ["apt-get", "update"]
    add = ["apt-get", "install", "-y", "--no-install-recommends", package, "ca-certificates"]
    say(f"{problem}. This installs them:\n    {' '.join(update)} && {' '.join(add)}")
    if not may_install():
        raise Stop("nothing was installed. Run that command, or agree to it: make setup YES=1")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run("apt-get", update, environment)
    run("apt-get", add, environment)


def has_venv_module() -> bool:
    """Whether this Python can make an environment with pip in it."""
    code = "import ensurepip, venv"
    return subprocess.call([sys.executable, "-c", code], stderr=subprocess.DEVNULL) == 0


def debian_package() -> str:
    """Debian's package that completes this Python; empty where it is not Debian's."""
    python = os.path.realpath(sys.executable)
    try:
        with open("/etc/os-release") as file:
            systems = re.findall(r"^ID(?:_LIKE)?=(.*)", file.read(), re.MULTILINE)
    except OSError:
        return ""
    if "debian" not in re.findall(r"\w+", " ".join(systems)) or not python.startswith("/usr/bin/"):
        return ""
    if python == os.path.realpath("/usr/bin/python3"):
        return "python3-venv"
    return "python%d.%d-venv" % sys.version_info[:2]


def may_install() -> bool:
    """Whether the user agrees; without a terminal to ask on, only if told before."""
    if os.environ.get("CI") == "true" or os.environ.get("YES") == "1":
        return True
    if not sys.stdin.isatty():
        return False
    return input("Install them now? [Y/n] ").strip().lower() in ("", "y", "yes")


def wait_for_others() -> None:
    """Go on when no other setup works on this checkout.

    The lock is on this file. Programs started from here inherit it, so that one
    whose setup was killed still holds it until it ends.
    """
    with contextlib.suppress(OSError):  # some network disks have no locks
        lock = os.open(__file__, os.O_RDWR)
        os.set_inheritable(lock, True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another setup is at work here: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)


# --- The installation -----------------------------------------------------------


def download_size() -> str:
    """How much a new environment downloads, as the lock's header says."""
    with open(LOCK) as file:
        size = re.search(r"^# download: (\d+ MB)", file.read(), re.MULTILINE)
    return f"about {size.group(1)}" if size else "its packages"


def install_packages() -> None:
    """Install the locked uv with pip, and all else with uv."""
    with tempfile.TemporaryDirectory() as folder:
        first = os.path.join(folder, "uv.txt")
        with open(LOCK) as source, open(first, "w") as target:
            target.write(pinned("uv", source.read()))
        pip = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run("pip", [*pip, *package_source(), "--require-hashes", "--no-deps", "-r", first])
    environment = dict(settings_from_pip(), **os.environ)
    sync = [*UV_PIP, "sync", *INTO_VENV, *package_source(), "--require-hashes", LOCK]
    run("uv", sync, environment, show=True)


def package_source() -> List[str]:
    """The options by which pip and uv install from the bundle, where there is one."""
    if not read_bundle():
        return []
    return ["--no-index", "--find-links", os.path.join(BUNDLE, "packages")]


def install_project() -> None:
    """Install the project itself, as it lies here.

    After the packages, as uv's sync removes what is not in the lock. What builds
    the project is in the lock, so this needs no network.
    """
    options = ["--offline", "--no-deps", "--no-build-isolation"]
    run("uv", [*UV_PIP, "install", *INTO_VENV, *options, "--editable", ROOT])


def settings_from_pip() -> Dict[str, str]:
    """What pip is told about this network, as variables for uv.

    uv reads none of pip's settings, and trusts its own list of certificates unless
    told otherwise: both matter where a university has its own package index or
    inspects TLS.
    """
    settings = {"UV_SYSTEM_CERTS": "1"}
    variables = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
    listed = output_of([VENV_PYTHON, "-m", "pip", "config", "list"])
    for section in ("global", "install", ":env:"):  # from the weakest to the strongest
        pattern = rf"^{section}\.(index-url|cert)='(.+)'$"
        for name, value in re.findall(pattern, listed, re.MULTILINE):
            settings[variables[name]] = value
    return settings


def pinned(package: str, lock: str) -> str:
    """The lines of the lock that pin one package, with its hashes."""
    return "".join(re.findall(rf"^{package}==(?:.*\\\n)*.*\n", lock, re.MULTILINE))


# --- Running programs -----------------------------------------------------------


def say(message: str) -> None:
    """Print at once, so that it stands before the output of other programs."""
    print(message, flush=True)


def output_of(command: List[str]) -> str:
    """What a command prints."""
    return subprocess.check_output(command, stderr=subprocess.DEVNULL, universal_newlines=True)


def run(
    name: str,
    command: List[str],
    environment: Optional[Dict[str, str]] = None,
    show: bool = False,
) -> None:
    """Run a program, and stop with its last lines where it fails.

    Args:
        name: what the user is told has failed.
        command: the program and its arguments.
        environment: its environment variables, if not this process's own.
        show: whether it may draw its progress on a terminal.
    """
    visible = show and sys.stderr.isatty()
    help_text = BUNDLE_HELP if read_bundle() else NETWORK_HELP
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if visible else subprocess.PIPE,
            stderr=None if visible else subprocess.STDOUT,
            universal_newlines=True,
            close_fds=False,  # keeps the lock, see wait_for_others
        )
    except OSError as error:  # such as a disk from which nothing may be executed
        raise Stop(f"{name} does not start: {error}") from error
    if done.returncode == 0:
        return
    if visible:
        raise Stop(f"{name} failed, see above.\n{help_text.format('If it is the network:')}")
    last_lines = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-5:])
    advice = "Put that right, then run the same command again."
    if read_bundle() or NETWORK_FAULT.search(done.stdout):
        advice = help_text.format("The network does not answer, or refuses:")
    raise Stop(f"{name} failed; its last lines:\n{last_lines}\n{advice}")


if __name__ == "__main__":
    sys.exit(main())

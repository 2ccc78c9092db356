"""The hub for a class, and its visitors."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from binder.pod import SOCKET, binder_image
from waiting import answers, eventually, free_port

from course import ROOT, engine, images

HUB = "course-test-hub"
UPSTREAM = "course-test-upstream"
CACHE = f"{HUB}-cache-1"
STUDENT_IMAGE = "course-test-hub-student"
SPAWN_SECONDS = 180


class Visitor:
    """A browser of a student's, as far as the hub can tell."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self._address = address
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, path: str) -> requests.Response:
        """The answer to a request."""
        return self._session.get(f"{self._address}{path}", timeout=60)

    def log_in(self, password: str) -> requests.Response:
        """Fill in the form of the login page."""
        token = re.search(r'name="_xsrf" value="([^"]+)"', self.get("/hub/login").text)[1]
        form = {"_xsrf": token, "username": self.name, "password": password}
        return self._session.post(f"{self._address}/hub/login", data=form, timeout=60)

    def start_server(self) -> bool:
        """Ask for the server; whether JupyterLab answers within some time."""
        self.get("/hub/spawn")

        def answers() -> bool:
            return "jupyter-config-data" in self.get(f"/user/{self.name}/lab").text

        return eventually(answers, SPAWN_SECONDS)

    def stop_server(self) -> None:
        """What the button "Stop My Server" does."""
        (token,) = (
            cookie.value
            for cookie in self._session.cookies
            if (cookie.name, cookie.path) == ("_xsrf", "/hub/")
        )
        server = f"{self._address}/hub/api/users/{self.name}/server"
        self._session.delete(server, params={"_xsrf": token}, timeout=120).raise_for_status()


class Hub:
    """The class's hub, run by docker compose as its README says."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._settings = {
            "HUB_NAME": HUB,
            "HUB_PORT": str(self.port),
            "HUB_STUDENT_IMAGE": STUDENT_IMAGE,
            "HUB_UPSTREAM": upstream,
        }

    def visitor(self, name: str) -> Visitor:
        """Somebody with a browser."""
        return Visitor(f"http://127.0.0.1:{self.port}", name)

    def servers(self, names: list[str]) -> dict[str, Visitor]:
        """Students who have logged in, each with a server and its engine running."""
        visitors = {name: self.visitor(name) for name in names}
        for visitor in visitors.values():
            assert visitor.log_in(f"a password of {visitor.name}").ok
        with ThreadPoolExecutor() as pool:
            assert all(pool.map(Visitor.start_server, visitors.values()))
        for name in names:
            self.in_server(name, "python -c 'import rootless; rootless.wait()'")
        return visitors

    def all_run(self, names: list[str], script: str) -> list[str]:
        """What a script prints that students run at the same time, each in the own server."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda name: self.in_server(name, script), names))

    def compose(self, *words: str) -> None:
        """Run docker compose for the hub."""
        self.docker("compose", "--project-directory", str(self._folder), *words)

    def docker(self, *words: str) -> str:
        """What a docker command prints that has to succeed."""
        environment = os.environ | engine.find().environment() | self._settings
        done = subprocess.run(["docker", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def tries_in_server(self, name: str, script: str) -> bool:
        """Whether a script succeeds in a student's server."""
        try:
            self.in_server(name, script)
        except AssertionError:
            return False
        return True

    def in_server(self, name: str, script: str) -> str:
        """What a script prints in a student's server that has to succeed."""
        host = f"DOCKER_HOST=unix://{SOCKET}"
        return self.docker("exec", "--env", host, f"{HUB}-{name}", "bash", "-c", script)

    def start_upstream(self) -> None:
        """Start what is Docker Hub for the class: it has an image that nothing else has."""
        options = [f"--network={HUB}", "--network-alias=upstream", "--publish=127.0.0.1::5000"]
        self.docker("run", "--detach", f"--name={UPSTREAM}", *options, images.REGISTRY)
        address = self.docker("port", UPSTREAM, "5000").split()[0]
        ref = f"{address}/library/only-there:1"
        self.docker("tag", images.REGISTRY, ref)
        assert eventually(lambda: answers(f"http://{address}/v2/"))
        self.docker("push", "--quiet", ref)
        self.docker("rmi", ref)

    def clean(self) -> None:
        """Remove the hub and what its students have."""
        mine = [f"--filter=name={HUB}-", f"--filter=name={UPSTREAM}"]
        if containers := self.docker("ps", "--all", "--quiet", *mine).split():
            self.docker("rm", "--force", "--volumes", *containers)
        self.compose("down", "--volumes")
        if volumes := self.docker("volume", "ls", "--quiet", f"--filter=name={HUB}-").split():
            self.docker("volume", "rm", *volumes)


@contextmanager
def hub_for(students: list[str]) -> Iterator[Hub]:
    """The hub for some students; a registry of our own is Docker Hub to it."""
    with TemporaryDirectory() as scratch, binder_image() as course:
        folder = Path(shutil.copytree(ROOT / "docker/hub", Path(scratch, "hub")))
        (folder / "students.txt").write_text("\n".join(students) + "\n")
        started = Hub(folder, upstream="http://upstream:5000")
        started.clean()
        argument = f"--build-arg=COURSE={course}"
        dockerfile = f"--file={folder}/student/Dockerfile"
        started.docker("build", argument, dockerfile, f"--tag={STUDENT_IMAGE}", str(folder))
        try:
            started.compose("up", "--build", "--detach")
            login = f"http://127.0.0.1:{started.port}/hub/login"
            started.start_upstream()
            assert eventually(lambda: answers(login), 60)
            yield started
        finally:
            started.clean()
            started.docker("rmi", "--force", STUDENT_IMAGE)

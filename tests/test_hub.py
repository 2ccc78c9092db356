"""The hub for a class, with three students at once."""

import re
from collections.abc import Iterator

import pytest
from binder.hub import CACHE, HUB, UPSTREAM, Hub, Visitor, hub_for
from waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.slow]

STUDENTS = ["ada", "bob", "cleo"]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """The hub for three students."""
    with hub_for(STUDENTS) as started:
        yield started


@pytest.fixture(scope="module")
def servers(hub: Hub) -> dict[str, Visitor]:
    """The three students, each with a server that runs."""
    return hub.servers(STUDENTS)


def test_each_has_an_engine_and_runs_containers_in_it_at_the_same_time(hub: Hub, servers):
    said = hub.all_run(STUDENTS, "docker run --rm --name=the-same python:3.13-slim hostname -i")
    assert len(said) == len(STUDENTS)
    assert all(re.fullmatch(r"172\.17\.\d+\.\d+", address) for address in said)


@pytest.mark.binder
def test_three_students_run_lesson_01_at_the_same_time(hub: Hub, servers):
    said = hub.all_run(STUDENTS, "course run 01_docker")
    assert all("passed" in text for text in said)


def test_only_who_is_on_the_list_comes_in_and_only_with_the_password(hub: Hub, servers):
    assert hub.visitor("mallory").log_in("a password of mallory").status_code == 403
    assert hub.visitor("ada").log_in("a password of bob").status_code == 403
    assert hub.visitor("ada").log_in("a password of ada").ok


def test_nobody_gets_into_the_server_of_another(servers: dict[str, Visitor]):
    assert servers["ada"].get("/user/ada/api/contents/notebooks").ok
    assert servers["ada"].get("/user/bob/api/contents/notebooks").status_code in (403, 404)


def test_a_server_has_limits_no_rights_and_not_the_hosts_engine(hub: Hub, servers):
    shown = hub.docker(
        "inspect",
        "--format={{.HostConfig.Memory}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}",
        f"{HUB}-ada",
    )
    assert shown == f"{2 * 2**30} [ALL] [no-new-privileges]"
    assert hub.in_server("ada", "id -u; ls /var/run/docker.sock 2> /dev/null || true") == "1000"
    assert HUB not in hub.in_server("ada", "docker ps --all --format '{{.Names}}'")


def test_images_come_by_the_cache(hub: Hub, servers: dict[str, Visitor]):
    bob = "docker pull --quiet only-there:1"
    assert eventually(lambda: hub.tries_in_server("bob", bob), 90), hub.docker("logs", CACHE)
    hub.docker("stop", UPSTREAM)
    # The next one gets it, though the registry behind the cache is gone.
    hub.in_server("cleo", "docker pull --quiet only-there:1")


def test_what_a_student_wrote_is_there_again_with_the_next_server(hub: Hub, servers):
    course = "/home/jovyan/mlops-cell-by-cell"
    hub.in_server("cleo", f"echo mine > {course}/notebooks/mine.txt; docker tag registry:2 mine:1")
    servers["cleo"].stop_server()
    gone = f"--filter=name={HUB}-cleo"
    assert eventually(lambda: not hub.docker("ps", "--all", "--quiet", gone), 180)
    assert servers["cleo"].start_server()
    hub.in_server("cleo", "python -c 'import rootless; rootless.wait()'")
    assert hub.in_server("cleo", f"cat {course}/notebooks/mine.txt") == "mine"
    assert hub.in_server("cleo", "docker images --quiet mine:1")

"""A hub for a class: a server for each student, with limits and an engine of its own."""

import os
from pathlib import Path

HOME = "/home/jovyan"
COURSE = f"{HOME}/mlops-cell-by-cell"
STUDENTS = Path("/etc/jupyterhub/students.txt")

c = get_config()  # noqa: F821  # JupyterHub puts it here

# Who may come in: the names in students.txt. Each chooses a password at the first login.
names = {line.strip() for line in STUDENTS.read_text().splitlines()} - {""}
c.JupyterHub.authenticator_class = "firstuseauthenticator.FirstUseAuthenticator"
c.FirstUseAuthenticator.create_users = False
c.FirstUseAuthenticator.dbm_path = "/data/passwords.dbm"
c.FirstUseAuthenticator.min_password_length = 10
c.Authenticator.allowed_users = names
c.Authenticator.admin_users = {os.environ["HUB_ADMIN"]} - {""}

# The proxy is the only way in. Servers reach the hub by its name in their network.
c.JupyterHub.bind_url = "http://0.0.0.0:8000"
c.JupyterHub.hub_ip = "0.0.0.0"  # noqa: S104  # within the network of the servers
c.JupyterHub.hub_connect_ip = "hub"
c.JupyterHub.db_url = "sqlite:////data/hub.sqlite"
c.JupyterHub.cookie_secret_file = "/data/cookie_secret"  # noqa: S105  # a path
c.JupyterHub.cleanup_servers = False  # a hub that restarts leaves its servers alone

c.JupyterHub.spawner_class = "docker"
c.DockerSpawner.image = os.environ["HUB_STUDENT_IMAGE"]
c.DockerSpawner.pull_policy = "never"
c.DockerSpawner.name_template = os.environ["HUB_NAME"] + "-{username}"
c.DockerSpawner.network_name = os.environ["HUB_NAME"]
c.DockerSpawner.remove = True  # what is to stay is in the volumes
c.DockerSpawner.mem_limit = os.environ["HUB_MEMORY"]
c.DockerSpawner.cpu_limit = float(os.environ["HUB_PROCESSORS"])
c.DockerSpawner.extra_host_config = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "shm_size": "64m",
}
# What a student writes, and the disk of the student's engine. A volume that is new gets
# what the image has in its place.
c.DockerSpawner.volumes = {
    os.environ["HUB_NAME"] + "-{username}-notebooks": f"{COURSE}/notebooks",
    os.environ["HUB_NAME"] + "-{username}-labs": f"{COURSE}/labs",
    os.environ["HUB_NAME"] + "-{username}-engine": f"{HOME}/.local/state/course-engine",
}
c.DockerSpawner.environment = {"COURSE_ENGINE_MIRROR": "http://cache:5000"}
c.DockerSpawner.notebook_dir = COURSE
c.DockerSpawner.default_url = "/lab/tree/notebooks/00_welcome.ipynb"
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120

"""A real container engine for a user who may have none: no root, no KVM, no namespaces.

Debian's User-Mode Linux is a Linux kernel that runs as an ordinary process. In it
runs dockerd; slirp4netns, another ordinary process, is its network. A supervisor
in the background keeps the three together and offers dockerd as a unix socket.

    import rootless
    rootless.up()      # `docker` now waits until the engine answers
    rootless.wait()    # until base images are loaded too
    rootless.down()

`rootless.HOST` is what DOCKER_HOST has to be.
"""

from rootless.control import HOST, down, logs, missing_packages, up, wait
from rootless.state import Status, status

__all__ = ["HOST", "Status", "down", "logs", "missing_packages", "status", "up", "wait"]

"""The guest's door to its engine: who knows the secret is let through to dockerd.

Run in the guest by init.sh, with the secret on standard input. It listens on the
guest's loopback address, which containers do not reach by a network of their own,
and a container on the host's network does not know the secret.

A visitor sends the secret, then frames: four bytes that say how long the rest is. An
empty frame says that nothing more will be sent, though answers are still wanted:
slirp drops a connection that is closed in one direction for more than a minute.
Answers come back as they are.
"""

import contextlib
import hmac
import socket
import sys
import threading

PORT = 2375
ENGINE = "/run/docker.sock"


def main() -> None:
    """Let in whoever sends the secret first."""
    secret = sys.stdin.readline().encode()
    with socket.create_server(("127.0.0.1", PORT)) as server:
        while True:
            visitor, _ = server.accept()
            threading.Thread(target=admit, args=(visitor, secret), daemon=True).start()


def admit(visitor: socket.socket, secret: bytes) -> None:
    """Join a visitor who knows the secret with the engine."""
    with visitor, visitor.makefile("rb") as said, contextlib.suppress(OSError):
        visitor.settimeout(10)
        if not hmac.compare_digest(said.read(len(secret)), secret):
            return
        visitor.settimeout(None)
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(ENGINE)
            threading.Thread(target=answer, args=(engine, visitor), daemon=True).start()
            while header := said.read(4):
                if size := int.from_bytes(header):
                    engine.sendall(said.read(size))
                else:
                    engine.shutdown(socket.SHUT_WR)
            engine.shutdown(socket.SHUT_RDWR)  # the visitor has gone: wakes the other thread


def answer(engine: socket.socket, visitor: socket.socket) -> None:
    """Pass on what the engine says, until it is silent for good."""
    with contextlib.suppress(OSError):
        while data := engine.recv(65536):
            visitor.sendall(data)
    with contextlib.suppress(OSError):
        visitor.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()

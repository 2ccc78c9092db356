"""The course for a room without a network: `make` fills the bundle, `room` uses it.

An unpacked bundle is the course as it was committed, with the folder ``bundle/``:

- ``packages/``: the lock's packages and those that builds of images install, with an
  index of them in ``packages/simple/``, as PEP 503 wants it;
- ``images/``: the base images, each as `docker save` writes it;
- ``about.json``: for which machine, Pythons and lessons it is;
- ``SHA256SUMS``: the checksums of all that, for `sha256sum --check`.
"""

"""MLOps, cell by cell: the code behind the lessons and the command ``course``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: the folder that holds ``source/``, ``notebooks/`` and ``docker/``."""

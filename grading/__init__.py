"""Grading a class: one locked-down container for each copy that was handed in.

``grade`` and ``release`` are what the command line calls. Everything below
``inside`` runs in the container, and nothing else does.
"""

"""The iris service: a model behind an HTTP API."""

"""Making the notebooks from source/: reading masters, building, checking."""

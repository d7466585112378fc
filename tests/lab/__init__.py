"""A real Kubernetes for tests: its parts, and clusters made of them inside one namespace."""

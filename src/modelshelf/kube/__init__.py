"""The Kubernetes API: how to reach it, what it says, and what its objects mean."""

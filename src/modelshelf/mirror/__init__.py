"""The mirror: it serves a shelf as a read-only Hub, for huggingface_hub and similar clients."""

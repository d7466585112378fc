"""A shelf as a Hub: read-only, over the protocol that huggingface_hub and its kin speak."""

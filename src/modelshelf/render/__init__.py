"""What `up` applies and `render` writes: Kubernetes objects as plain values, made without I/O."""

"""A real Kubernetes cluster on this machine, in the namespaces of a lab."""

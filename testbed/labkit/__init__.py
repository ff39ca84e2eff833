"""What the labs are built of: topologies, nodes in namespaces, questions to routers."""

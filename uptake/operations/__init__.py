"""Use cases, one verb each. They take ports as arguments and never import an adapter."""

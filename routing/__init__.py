"""The data plane: the nine steps of a request, and the configuration that they follow."""

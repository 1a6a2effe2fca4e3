"""Credentials for backends: access tokens that are fetched, shared by the cluster, renewed and kept encrypted."""

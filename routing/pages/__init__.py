"""Where staff's pages are: on the project's own admin site and template engine, or, in another team's project, on the
gateway's.
"""

"""Form fields of the admin for the settings of services and routes: each shows a value of the configuration file in
controls, and reads it back from what a browser posts.
"""

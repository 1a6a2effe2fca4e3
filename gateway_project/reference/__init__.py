"""The reference documentation, written by the code that it describes. `manage.py reference` writes it as Markdown."""

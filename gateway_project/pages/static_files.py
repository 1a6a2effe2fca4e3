"""Django's storage of static files."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # whitenoise has no types
    """Collected files are compressed, and have a hash of their content in their names, so that browsers keep them.

    So have the modules that scripts import. Before `collectstatic`, the names are the files' own.
    """

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        return str(super().stored_name(name)) if self.hashed_files else name

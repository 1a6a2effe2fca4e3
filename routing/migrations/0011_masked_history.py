"""Revisions show masks in place of secrets; a column of their own keeps these for a rollback."""

from typing import Any

from django.db import migrations, models


def mask_revisions(apps: Any, schema_editor: Any) -> None:
    from routing.configuration.document import dump, parse  # noqa: PLC0415 - only for a history that has secrets
    from routing.configuration.faults import ConfigurationError  # noqa: PLC0415 - as above
    from routing.database.masking import mask  # noqa: PLC0415 - as above

    revisions = apps.get_model("routing", "ConfigurationRevision").objects.using(schema_editor.connection.alias)
    for revision in revisions.iterator(chunk_size=20):
        try:
            masked = mask(parse(revision.document).structure)
            text = dump(masked.structure) if masked.secrets else ""
        except (ConfigurationError, LookupError, TypeError, AttributeError):
            continue  # it cannot be rolled back to either
        if masked.secrets:
            revision.document, revision.secrets = text, masked.secrets
            revision.save(update_fields=["document", "secrets"])


def unmask_revisions(apps: Any, schema_editor: Any) -> None:
    from routing.configuration.document import dump, parse  # noqa: PLC0415 - as above
    from routing.configuration.literals import unmask  # noqa: PLC0415 - as above

    revisions = apps.get_model("routing", "ConfigurationRevision").objects.using(schema_editor.connection.alias)
    for revision in revisions.exclude(secrets=None).iterator(chunk_size=20):
        revision.document = dump(unmask(parse(revision.document).structure, revision.secrets))
        revision.save(update_fields=["document"])


class Migration(migrations.Migration):
    dependencies = (("routing", "0010_rights"),)
    operations = (
        migrations.AddField("configurationrevision", "secrets", models.JSONField(editable=False, null=True)),
        migrations.RunPython(mask_revisions, unmask_revisions, elidable=True),
    )

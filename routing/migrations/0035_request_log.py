from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("routing", "0034_signing_keys_and_certificates"),)
    operations = tuple(
        migrations.AddField(model, "request_log", models.JSONField(blank=True, null=True)) for model in ("service", "route")
    )

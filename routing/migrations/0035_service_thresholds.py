from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0034_signing_keys_and_certificates"),
    ]

    operations = [
        migrations.AddField(
            model_name="service",
            name="thresholds",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="quotausage",
            index=models.Index(fields=["warned", "ends"], name="quota_warned"),
        ),
    ]

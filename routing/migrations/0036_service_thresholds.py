from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0035_request_log"),
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

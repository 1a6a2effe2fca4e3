from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0036_service_thresholds"),
    ]

    operations = [
        migrations.AddField(
            model_name="service",
            name="status_page",
            field=models.JSONField(blank=True, null=True),
        ),
    ]

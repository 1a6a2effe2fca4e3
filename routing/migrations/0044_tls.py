from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0043_service_roles"),
    ]

    operations = [
        migrations.AddField(
            model_name="service",
            name="tls",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="target",
            name="tls",
            field=models.JSONField(blank=True, null=True),
        ),
    ]

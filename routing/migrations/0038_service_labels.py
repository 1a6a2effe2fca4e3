from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0037_status_page"),
    ]

    operations = [
        migrations.AddField(
            model_name="service",
            name="labels",
            field=models.JSONField(blank=True, null=True),
        ),
    ]

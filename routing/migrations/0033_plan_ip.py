from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0032_prices"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="ip",
            field=models.JSONField(blank=True, null=True),
        ),
    ]

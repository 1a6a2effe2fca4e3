from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0041_configuration_proposals"),
    ]

    operations = [
        migrations.AddField(
            model_name="backendcredential",
            name="tenant",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="pendingconnection",
            name="per",
            field=models.CharField(blank=True, db_default="", default="", max_length=16),
        ),
        migrations.AddField(
            model_name="watch",
            name="tenant",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0030_service_document"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConfigurationChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.BigIntegerField(db_index=True)),
                ("kind", models.CharField(max_length=16)),
                ("row", models.BigIntegerField()),
            ],
        ),
    ]

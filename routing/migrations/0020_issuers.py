from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routing", "0019_consumers_and_plans")]

    operations = [
        migrations.CreateModel(
            name="Issuer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("issuer", models.CharField(max_length=200, unique=True)),
                ("enabled", models.BooleanField(default=True)),
                ("settings", models.JSONField(default=dict)),
                ("origin", models.CharField(blank=True, db_default="", default="", editable=False, max_length=16)),
            ],
            options={"ordering": ("issuer",)},
        ),
    ]

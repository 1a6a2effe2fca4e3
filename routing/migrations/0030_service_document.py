import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0028_members_and_plan_requests"),
    ]

    operations = [
        migrations.CreateModel(
            name="ServiceDocument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("document", models.TextField()),
                ("title", models.CharField(blank=True, max_length=200)),
                ("version", models.CharField(blank=True, max_length=200)),
                ("routes", models.JSONField(blank=True, default=list)),
                ("actor", models.CharField(max_length=200)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "service",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="openapi", to="routing.service"
                    ),
                ),
            ],
        ),
    ]

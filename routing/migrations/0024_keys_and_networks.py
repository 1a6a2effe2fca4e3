from typing import Any

import django.db.models.deletion
from django.db import migrations, models


TEXT: dict[str, Any] = {"blank": True, "db_default": "", "default": ""}
TIME: dict[str, Any] = {"blank": True, "editable": False, "null": True}
FIELDS: dict[str, Any] = {
    "owner": models.CharField(max_length=200, **TEXT),
    "created_by": models.CharField(max_length=200, editable=False, **TEXT),
    "environment": models.CharField(max_length=8, choices=[("live", "live"), ("test", "test")], **TEXT),
    "methods": models.JSONField(blank=True, null=True),
    "ip": models.JSONField(blank=True, null=True),
    "rotated_at": models.DateTimeField(**TIME),
    "last_used_at": models.DateTimeField(**TIME),
    "last_used_from": models.CharField(max_length=64, editable=False, **TEXT),
    "last_used_service": models.CharField(max_length=63, editable=False, **TEXT),
    "warned_for": models.DateTimeField(**TIME),
    "warned_days": models.PositiveSmallIntegerField(**TIME),
}


class Migration(migrations.Migration):
    dependencies = (("routing", "0023_watch"),)
    operations = (
        *(migrations.AddField("apikey", name, field) for name, field in FIELDS.items()),
        *(migrations.AddField(name, "ip", models.JSONField(blank=True, null=True)) for name in ("service", "route")),
        migrations.CreateModel(
            name="RetiredSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("retired_at", models.DateTimeField(auto_now_add=True)),
                ("valid_until", models.DateTimeField(db_index=True)),
                ("uses", models.PositiveBigIntegerField(default=0)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_from", models.CharField(blank=True, default="", max_length=64)),
                ("last_used_service", models.CharField(blank=True, default="", max_length=63)),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="retired", to="routing.apikey"
                    ),
                ),
            ],
            options={"ordering": ("-retired_at", "-pk")},
        ),
    )

"""Roles of staff for some services, and the one service that a revision or a proposal is about."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0042_account_tenants"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.AddField(
            "configurationrevision",
            "service",
            models.CharField(blank=True, db_default="", db_index=True, default="", max_length=63),
        ),
        migrations.AddField(
            "configurationproposal",
            "service",
            models.CharField(blank=True, db_default="", db_index=True, default="", max_length=63),
        ),
        migrations.CreateModel(
            name="ServiceRole",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("Viewer", "Viewer"), ("Operator", "Operator"), ("Owner", "Owner")], max_length=16
                    ),
                ),
                ("services", models.JSONField(blank=True, default=list)),
                ("labels", models.JSONField(blank=True, default=dict)),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "role for services",
                "verbose_name_plural": "roles for services",
                "ordering": ("pk",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(user=None, group__isnull=False) | models.Q(user__isnull=False, group=None),
                        name="service_role_has_one_holder",
                    )
                ],
            },
        ),
    ]

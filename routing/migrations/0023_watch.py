from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("routing", "0022_caller_identity"),)
    operations = (
        migrations.CreateModel(
            name="Watch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("webhook", models.CharField(max_length=63)),
                ("subject", models.CharField(max_length=400)),
                ("resource", models.CharField(max_length=300)),
                ("service", models.CharField(max_length=63)),
                ("base", models.CharField(blank=True, editable=False, max_length=200)),
                ("digest", models.CharField(blank=True, editable=False, max_length=32)),
                ("channel", models.CharField(blank=True, max_length=64)),
                ("resource_id", models.CharField(blank=True, max_length=200)),
                ("resource_uri", models.CharField(blank=True, max_length=2_000)),
                ("superseded", models.JSONField(blank=True, default=list, editable=False)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("renewed_at", models.DateTimeField(blank=True, null=True)),
                ("renew_at", models.DateTimeField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, db_index=True, null=True)),
                ("failure", models.CharField(blank=True, max_length=64)),
                ("detail", models.CharField(blank=True, max_length=500)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
                ("stale", models.BooleanField(default=False)),
                ("claimed_by", models.CharField(blank=True, editable=False, max_length=32)),
                ("claimed_until", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={"verbose_name_plural": "watches", "ordering": ("webhook", "resource", "subject", "pk")},
        ),
        migrations.AddConstraint(
            "watch",
            models.UniqueConstraint(fields=("webhook", "subject", "resource"), name="watch_once"),
        ),
    )

from django.db import migrations, models

SETTINGS = ("outcome", "hold_off", "outbound")


class Migration(migrations.Migration):
    dependencies = (("routing", "0016_backend_credentials"),)
    operations = tuple(
        migrations.AddField(model, name, models.JSONField(blank=True, null=True))
        for model in ("service", "route")
        for name in SETTINGS
    )

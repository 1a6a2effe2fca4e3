from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metrics", "0009_alerts")]

    operations = [
        migrations.AddField(
            model_name="alertstate", name="told", field=models.JSONField(default=None, null=True)
        ),
    ]

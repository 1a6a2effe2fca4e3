from typing import Any

from django.db import migrations, models
from django.db.models.functions import Substr


def name_keys(apps: Any, schema_editor: Any) -> None:
    """Rows of keys without a consumer say which key it was in `caller`."""
    rows = apps.get_model("metrics", "DailyUsage").objects.using(schema_editor.connection.alias)
    rows.filter(caller__regex=r"^key:[a-z2-7]{8}$").update(api_key=Substr("caller", 5))


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0006_identity'),
    ]

    operations = [
        migrations.AddField(
            model_name='dailyusage',
            name='api_key',
            field=models.CharField(blank=True, db_default='', default='', max_length=16),
        ),
        migrations.AddField(
            model_name='dailyusage',
            name='refused',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='dailyusage',
            name='limited',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='dailyusage',
            name='last_at',
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RunPython(name_keys, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name='dailyusage',
            index=models.Index(fields=['api_key', 'day'], name='usage_key_day'),
        ),
    ]

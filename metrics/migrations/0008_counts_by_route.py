from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from django.db import migrations, models

CHUNK = 500
SUMMED = frozenset({"requests", "duration", "duration_us", "backend", "backend_us", "cache", "code"})


def sum_services(apps: Any, schema_editor: Any) -> None:
    """Add the rows of all services together, of what has been counted before."""
    aggregates = apps.get_model("metrics", "Aggregate").objects.using(schema_editor.connection.alias)
    for resolution in ("minute", "hour", "day"):
        rows = aggregates.filter(resolution=resolution).exclude(service="*").order_by("start", "service")
        created = []
        for start, group in groupby(rows.iterator(CHUNK), lambda row: row.start):
            created.append(aggregates.model(resolution=resolution, start=start, service="*", counts=_sum(group)))
            if len(created) >= CHUNK:
                aggregates.bulk_create(created, ignore_conflicts=True)
                created = []
        aggregates.bulk_create(created, ignore_conflicts=True)


def _sum(rows: Iterable[Any]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        for field, number in row.counts.items():
            name = field.partition("|")[0]
            if name in SUMMED:
                total["|".join(field.split("|", 3)[:3]) + "|" if name == "requests" else field] += number
    return dict(total)


def remove_sums(apps: Any, schema_editor: Any) -> None:
    """An earlier version would take the rows of all services for those of a service."""
    aggregates = apps.get_model("metrics", "Aggregate").objects.using(schema_editor.connection.alias)
    aggregates.filter(models.Q(service="*") | models.Q(resolution__in=("r10min", "rday"))).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("metrics", "0007_usage_of_keys"),
    ]

    operations = [
        migrations.AlterField(
            model_name="aggregate",
            name="resolution",
            field=models.CharField(
                choices=[
                    ("minute", "Minute"),
                    ("hour", "Hour"),
                    ("day", "Day"),
                    ("total", "Total"),
                    ("reset", "Reset"),
                    ("r10min", "Routes Ten Minutes"),
                    ("rday", "Routes Day"),
                ],
                max_length=6,
            ),
        ),
        migrations.AddIndex(
            model_name="aggregate",
            index=models.Index(fields=["service", "resolution", "start"], name="aggregate_of_service"),
        ),
        migrations.RunPython(sum_services, remove_sums),
    ]

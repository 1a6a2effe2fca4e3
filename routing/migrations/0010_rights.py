"""The rights of staff, the groups that have them, and a place in these groups for the staff there is."""

from typing import Any

from django.conf import settings
from django.db import migrations

RIGHTS = (("view", "view", "Viewer"), ("operate", "operate", "Operator"), ("configure", "configure", "Owner"))
PERMISSIONS = tuple((f"{name}_gateway", f"Can {verb} the gateway") for name, verb, _ in RIGHTS)
OPERATED = {"change_circuit", "change_cachedservice"}
CONFIGURED = {f"{verb}_{model}" for verb in ("add", "change", "delete") for model in ("service", "apikey")}


def create_groups(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 - Django's signature
    """Staff without these groups could do everything until now: they keep what they could see.

    Those whose permissions allowed as much in the admin may still operate or configure.
    """
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="routing", model="service"
    )
    permissions, groups = apps.get_model("auth", "Permission").objects, {}
    for (codename, text), (_, _, group) in zip(PERMISSIONS, RIGHTS, strict=True):
        permission, _ = permissions.get_or_create(content_type=content_type, codename=codename, defaults={"name": text})
        groups[group], _ = apps.get_model("auth", "Group").objects.get_or_create(name=group)
        groups[group].permissions.add(permission)
    users = apps.get_model(settings.AUTH_USER_MODEL)
    if not {"is_staff", "is_superuser", "groups"} <= {field.name for field in users._meta.get_fields()}:
        return  # a project's own model, whose rights are its own
    for user in users._default_manager.filter(is_staff=True, is_superuser=False):
        own = permissions.filter(user=user) | permissions.filter(group__user=user)
        held = set(own.values_list("codename", flat=True))
        group = "Owner" if held >= CONFIGURED else "Operator" if held & OPERATED else "Viewer"
        user.groups.add(groups[group])


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0009_preserve_host"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.AlterModelOptions("service", {"ordering": ("name",), "permissions": PERMISSIONS}),
        migrations.RunPython(create_groups, migrations.RunPython.noop),
    ]

"""Tags that changed rows invalidate, with Django's own models and this project's proxies."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models.signals import post_save, pre_delete

from metrics.models import Circuit
from resilience.outage import StoreUnavailable
from routing.cache import invalidates_on_change
from routing.database import model_changes
from routing.models import Service

pytestmark = pytest.mark.django_db
Commit = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers that are connected here must not outlive the test."""
    for signal in (post_save, pre_delete):
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
        monkeypatch.setattr(signal, "sender_receivers_cache", {})
        monkeypatch.setattr(signal, "use_caching", False)


class Recorder:
    """Invalidates, except what is `lost`."""

    def __init__(self, lost: Iterable[str] = ()) -> None:
        self.lost = lost
        self.tags: list[str] = []

    def __call__(self, tag: str) -> None:
        if tag in self.lost:
            raise StoreUnavailable
        self.tags.append(tag)


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Callable[[], AbstractContextManager[Any]]:
    """What is done within is committed at the end."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def test_rows_that_are_saved_or_deleted_invalidate_tags_with_their_attributes(commit: Commit) -> None:
    recorder = Recorder()
    model_changes.connect(User, ["users", "user:{username}", "{email}"], recorder, None)
    with commit():
        User.objects.create(username="ann")
        assert recorder.tags == []
    assert recorder.tags == ["user:ann", "users"]
    with commit():
        User.objects.only("id").get().delete()
    assert recorder.tags == ["user:ann", "users"] * 2


@pytest.mark.parametrize(
    ("model", "row"),
    [(Service, Circuit(name="crm")), (Circuit, Service(name="crm")), (AbstractBaseUser, User(username="ann"))],
)
def test_a_row_may_be_saved_as_a_proxy_or_a_subclass(commit: Commit, model: Any, row: models.Model) -> None:
    recorder = Recorder()
    model_changes.connect(model, ["a"], recorder, None)
    with commit():
        row.save()
    assert recorder.tags == ["a"]


def test_a_tag_that_cannot_be_invalidated_keeps_no_other_from_it(
    commit: Commit, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(lost=["a", "c"])
    model_changes.connect(User, ["a", "b", "c", "d"], recorder, None)
    with commit():
        User.objects.create(username="ann")
    assert recorder.tags == ["b", "d"]
    assert "the tags a, c could not be invalidated" in caplog.text


def test_many_rows_in_a_transaction_invalidate_their_tags_once(commit: Commit) -> None:
    recorder = Recorder()
    model_changes.connect(User, ["users"], recorder, None)
    with commit():
        for name in ("ann", "bob"):
            User.objects.create(username=name)
        with transaction.atomic():
            User.objects.create(username="rolled-back")
            transaction.set_rollback(True)
    assert recorder.tags == ["users"]
    with commit():
        with transaction.atomic():
            User.objects.create(username="rolled-back")
            transaction.set_rollback(True)
        User.objects.create(username="cid")
    assert recorder.tags == ["users"] * 2


def test_tags_are_changing_until_the_transaction_ends() -> None:
    model_changes.connect(User, ["users", "user:{username}"], Recorder(), None)
    assert not model_changes.is_changing(["users"])
    with transaction.atomic():
        User.objects.create(username="ann")
        assert model_changes.is_changing(["other", "user:ann"])
        assert not model_changes.is_changing(["user:bob"])
        transaction.set_rollback(True)
    assert not model_changes.is_changing(["users", "user:ann"])


@pytest.mark.parametrize(
    ("tags", "error", "text"),
    [
        ("users", TypeError, "tags must be a list of strings, not a string"),
        ([""], ValueError, "a tag must not be empty"),
        (["user:{name}"], ValueError, "User has no attribute 'name'"),
        (["user:{username.lower}"], ValueError, "braces enclose the name of one attribute"),
        (["user:{username"], ValueError, "braces enclose"),
    ],
)
def test_tags_are_checked_when_they_are_connected(tags: Any, error: type[Exception], text: str) -> None:
    receivers = len(post_save.receivers)
    with pytest.raises(error, match=text):
        invalidates_on_change(User, tags)
    assert len(post_save.receivers) == receivers

"""The Gmail API, version 1 (developers.google.com/workspace/gmail/api/reference/rest)."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict

from routing.demo.controls import Controls, of_the_machine, reply
from routing.demo.gmail_uploads import Uploads
from routing.demo.google import (
    GoogleAccess,
    GoogleError,
    caller,
    decode_base64,
    error_response,
    invalid,
    not_found,
    page,
)
from routing.demo.google_batch import Batches
from routing.demo.json_backend import JsonObject, json_body
from routing.demo.mailboxes import SYSTEM_LABELS, Letter, Mailbox, Mailboxes, parsed, resource
from routing.demo.pubsub import PubSubSender

UNITS_PER_MINUTE: Final = 6_000
CALLS_IN_A_BATCH: Final = 100
SECONDS: Final = 0.18
HEADERS: Final = {"Cache-Control": "private", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN"}
VARY: Final = ("Origin", "X-Origin", "Referer")
FORMATS: Final = ("minimal", "full", "raw", "metadata")
MailboxRead = Callable[[Mailbox, web.Request], JsonObject | None]
MailboxWrite = Callable[[Mailbox, web.Request, JsonObject], JsonObject | None]


class GmailApi:
    def __init__(self, mailboxes: Mailboxes, controls: Controls) -> None:
        self._mailboxes = mailboxes
        self._controls = controls
        self._access = GoogleAccess(controls)
        self._publisher = PubSubSender(controls)
        self._uploads = Uploads()

    def attach(self, backend: web.Application) -> None:
        self._access.attach(backend)
        Batches("/gmail/v1", CALLS_IN_A_BATCH).attach(backend)
        self._publisher.attach(backend)
        user = "/gmail/v1/users/{user}"
        for path, operation, units, run in READS:
            backend.router.add_get(user + path, partial(self._read, operation, units, run))
        backend.router.add_post(f"{user}/messages/send", partial(self._write, "messages.send", 100, _send))
        for method in ("POST", "PUT"):
            backend.router.add_route(method, f"/upload{user}/messages/send", self._upload)
        backend.router.add_post(f"{user}/messages/{{id}}/modify", partial(self._write, "messages.modify", 5, _modify))
        backend.router.add_post(f"{user}/watch", partial(self._write, "watch", 100, self._watch))
        backend.router.add_post(f"{user}/stop", partial(self._write, "stop", 50, _stop))
        backend.router.add_post("/demo/deliver/{user}", of_the_machine(self._deliver))

    async def _read(self, operation: str, units: int, run: MailboxRead, request: web.Request) -> web.Response:
        try:
            self._access.check(request, operation, units, UNITS_PER_MINUTE)
            await self._controls.wait(SECONDS)
            return _varied(reply(run(self._mailbox(request), request), headers=HEADERS))
        except GoogleError as error:
            return _varied(error_response(error, HEADERS))

    async def _write(self, operation: str, units: int, run: MailboxWrite, request: web.Request) -> web.Response:
        try:
            self._access.check(request, operation, units, UNITS_PER_MINUTE)
            await self._controls.wait(SECONDS)
            return self._change(run, request, await json_body(request) if request.can_read_body else {})
        except GoogleError as error:
            return _varied(error_response(error, HEADERS))

    async def _upload(self, request: web.Request) -> web.Response:
        """A message to send that comes as it is, at once or in parts."""
        try:
            self._access.check(request, "messages.upload", 0, UNITS_PER_MINUTE)
            received = await self._uploads.receive(request)
            if isinstance(received, web.Response):
                return _varied(received)
            self._access.check(request, "messages.send", 100, UNITS_PER_MINUTE)
            return self._change(_send, request, received)
        except GoogleError as error:
            return _varied(error_response(error, HEADERS))

    def _change(self, run: MailboxWrite, request: web.Request, given: JsonObject) -> web.Response:
        mailbox = self._mailbox(request)
        history = mailbox.history
        body = run(mailbox, request, given)
        self._report(mailbox, history)
        return _varied(web.Response(status=204) if body is None else reply(body, headers=HEADERS))

    async def _deliver(self, request: web.Request) -> web.Response:
        """`POST /demo/deliver/{address}` with from, subject, text: a message arrives."""
        letter = await json_body(request)
        mailbox = self._mailboxes.of(request.match_info["user"])
        history = mailbox.history
        sender, subject, text = (str(letter.get(name, "")) for name in ("from", "subject", "text"))
        added = mailbox.add(sender, subject, text, ["INBOX", "UNREAD"])
        self._report(mailbox, history)
        return web.json_response({"id": added.key, "historyId": str(mailbox.history)}, status=201)

    def _watch(self, mailbox: Mailbox, _: web.Request, body: JsonObject) -> JsonObject:
        """Begins or renews: for another topic, only after a stop."""
        topic, now = str(body.get("topicName", "")), time.time()
        if not topic.startswith("projects/"):
            raise invalid("topicName")
        if now < mailbox.watched_until and topic != mailbox.topic:
            message = "Only one user push notification client allowed per developer (call /stop then try again)"
            raise GoogleError(400, "failedPrecondition", message)
        mailbox.topic, mailbox.watched_until = topic, now + self._controls.settings.watch_seconds
        return {"historyId": str(mailbox.history), "expiration": str(int(mailbox.watched_until * 1_000))}

    def _mailbox(self, request: web.Request) -> Mailbox:
        user = request.match_info["user"]
        return self._mailboxes.of(caller(request) if user == "me" else user)

    def _report(self, mailbox: Mailbox, before: int) -> None:
        if time.time() < mailbox.watched_until and mailbox.history != before:
            self._publisher.publish(mailbox.address, mailbox.history)


def _list_messages(mailbox: Mailbox, request: web.Request) -> JsonObject:
    query = request.query
    found = mailbox.listed(query.get("labelIds"), query.get("q", ""))
    letters, token = page(found, query.get("pageToken", ""), query.get("maxResults"), 100, 500)
    listed = [{"id": letter.key, "threadId": letter.thread} for letter in letters]
    return _paged("messages", listed, token) | {"resultSizeEstimate": len(found)}


def _list_threads(mailbox: Mailbox, request: web.Request) -> JsonObject:
    query = request.query
    newest: dict[str, Letter] = {}
    for letter in mailbox.listed(query.get("labelIds"), query.get("q", "")):
        newest.setdefault(letter.thread, letter)
    letters, token = page(list(newest.values()), query.get("pageToken", ""), query.get("maxResults"), 100, 500)
    listed = [{"id": one.thread, "snippet": one.text, "historyId": str(one.history)} for one in letters]
    return _paged("threads", listed, token) | {"resultSizeEstimate": len(newest)}


def _get_message(mailbox: Mailbox, request: web.Request) -> JsonObject:
    return resource(_letter(mailbox, request), mailbox.address, _format(request))


def _get_thread(mailbox: Mailbox, request: web.Request) -> JsonObject:
    thread = request.match_info["id"]
    letters = [letter for letter in mailbox.letters.values() if letter.thread == thread]
    if not letters:
        raise not_found()
    messages = [resource(letter, mailbox.address, _format(request)) for letter in letters]
    return {"id": thread, "historyId": str(max(letter.history for letter in letters)), "messages": messages}


def _list_labels(_: Mailbox, __: web.Request) -> JsonObject:
    return {"labels": [{"id": name, "name": name, "type": "system"} for name in SYSTEM_LABELS]}


def _get_label(mailbox: Mailbox, request: web.Request) -> JsonObject:
    name = request.match_info["id"]
    if name not in SYSTEM_LABELS:
        raise not_found()
    letters = mailbox.listed(name)
    unread = sum("UNREAD" in letter.labels for letter in letters)
    counts = {"messagesTotal": len(letters), "messagesUnread": unread}
    return {"id": name, "name": name, "type": "system", **counts}


def _profile(mailbox: Mailbox, _: web.Request) -> JsonObject:
    threads = {letter.thread for letter in mailbox.letters.values()}
    totals = {"messagesTotal": len(mailbox.letters), "threadsTotal": len(threads)}
    return {"emailAddress": mailbox.address, **totals, "historyId": str(mailbox.history)}


def _history(mailbox: Mailbox, request: web.Request) -> JsonObject:
    try:
        changes = mailbox.since(int(request.query.get("startHistoryId", "")))
    except ValueError:
        raise invalid("startHistoryId") from None
    if changes is None:
        raise not_found()
    listed = []
    for number, kind, letter, labels in changes:
        message = {"id": letter.key, "threadId": letter.thread, "labelIds": letter.labels}
        change = {"message": message, **({"labelIds": labels} if labels else {})}
        listed.append({"id": str(number), "messages": [{"id": letter.key, "threadId": letter.thread}], kind: [change]})
    shown, token = page(listed, request.query.get("pageToken", ""), request.query.get("maxResults"), 100, 500)
    return (_paged("history", shown, token) if shown else {}) | {"historyId": str(mailbox.history)}


def _send(mailbox: Mailbox, _: web.Request, body: JsonObject) -> JsonObject:
    try:
        sender, subject, text = parsed(decode_base64(str(body.get("raw", ""))))
    except ValueError:
        raise invalid("raw") from None
    thread = body.get("threadId")
    letter = mailbox.add(sender, subject, text, ["SENT"], thread if isinstance(thread, str) else None)
    return {"id": letter.key, "threadId": letter.thread, "labelIds": letter.labels}


def _modify(mailbox: Mailbox, request: web.Request, body: JsonObject) -> JsonObject:
    letter = _letter(mailbox, request)
    add, remove = body.get("addLabelIds") or [], body.get("removeLabelIds") or []
    if not all(label in SYSTEM_LABELS for label in (*add, *remove)):
        raise invalid("labelIds")
    mailbox.relabel(letter, add, remove)
    return {"id": letter.key, "threadId": letter.thread, "labelIds": letter.labels}


def _stop(mailbox: Mailbox, _: web.Request, __: JsonObject) -> None:
    mailbox.watched_until = 0.0


READS: Final[tuple[tuple[str, str, int, MailboxRead], ...]] = (
    ("/messages", "messages.list", 5, _list_messages),
    ("/messages/{id}", "messages.get", 5, _get_message),
    ("/threads", "threads.list", 10, _list_threads),
    ("/threads/{id}", "threads.get", 10, _get_thread),
    ("/labels", "labels.list", 1, _list_labels),
    ("/labels/{id}", "labels.get", 1, _get_label),
    ("/history", "history.list", 2, _history),
    ("/profile", "getProfile", 1, _profile),
)
"""Path, operation, quota units, function."""


def _letter(mailbox: Mailbox, request: web.Request) -> Letter:
    letter = mailbox.letters.get(request.match_info["id"])
    if letter is None:
        raise not_found()
    return letter


def _format(request: web.Request) -> str:
    form = request.query.get("format", "full").lower()
    if form not in FORMATS:
        raise invalid("format")
    return form


def _paged(name: str, items: list[Any], token: str | None) -> JsonObject:
    return {**({name: items} if items else {}), **({"nextPageToken": token} if token else {})}


def _varied(response: web.Response) -> web.Response:
    """With one `Vary` field for each name, as Google sends them."""
    headers: CIMultiDict[str] = response.headers
    for name in VARY:
        headers.add("Vary", name)
    return response

"""Pushes of Pub/Sub as Gmail causes them, with a token signed by a key of the demonstration's own."""

import json
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

import jwt
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from routing.demo.controls import Controls

EMAIL: Final = "gmail-push@demonstration.iam.gserviceaccount.com"
KEY_ID: Final = "demonstration"
SUBSCRIPTION: Final = "projects/demonstration/subscriptions/gmail"


class PubSubSender:
    """Sends to the webhook that is set, which is also the token's audience. Its keys are at `/oauth2/v1/certs`."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._published = 0

    def attach(self, backend: web.Application) -> None:
        backend.router.add_get("/oauth2/v1/certs", self._certificates)

    def publish(self, address: str, history: int) -> None:
        target = self._controls.settings.webhook
        if target is None:
            return
        self._published += 1
        data = b64encode(json.dumps({"emailAddress": address, "historyId": history}).encode()).decode()
        number, at = str(self._published), datetime.now(UTC).isoformat()
        message = {"data": data, "messageId": number, "message_id": number, "publishTime": at, "publish_time": at}
        body = json.dumps({"message": message, "subscription": SUBSCRIPTION}).encode()
        url = target.url
        self._controls.sender.send(url, body, lambda _: self._fields(url))

    def _fields(self, audience: str) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": "https://accounts.google.com", "aud": audience, "email": EMAIL, "email_verified": True}
        claims |= {"sub": "104", "iat": now, "exp": now + 3_600}
        token = jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": "APIs-Google"}

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    async def _certificates(self, _: web.Request) -> web.Response:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, EMAIL)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=7))
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        return web.json_response({KEY_ID: certificate}, headers={"Cache-Control": "public, max-age=3600"})

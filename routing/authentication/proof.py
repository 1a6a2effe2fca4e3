"""What a caller is identified by."""

from routing.authentication.authenticator import Credential
from routing.authentication.certificates.certificate import ClientCertificate
from routing.authentication.signatures.keys import SigningKey

PresentedProof = ClientCertificate | SigningKey
"""What is no credential in the Authorization or X-API-Key field."""
Proof = Credential | PresentedProof

"""HTTP message signatures (RFC 9421) as a credential of programs."""

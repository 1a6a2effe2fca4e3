"""Client certificates as a credential: as proxies that terminate TLS forward them, or as a listener hands them in."""

"""Five small backends for the demonstration, real HTTP servers on loopback, and the configuration that names them."""

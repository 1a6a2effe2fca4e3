"""The demonstration: five small HTTP backends on the loopback interface, and the configuration that uses them."""

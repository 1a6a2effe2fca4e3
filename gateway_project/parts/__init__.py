"""The parts that the container is built of, as the environment configures them."""

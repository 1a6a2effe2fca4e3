vcl 4.1;

# Varnish: what is below /miss/ is passed on, all else is cached as its Cache-Control says.
backend default {
    .host = "$host";
    .port = "$origin_port";
    .max_connections = 1024;
}

sub vcl_recv {
    if (req.url ~ "^/miss/") {
        return (pass);
    }
    return (hash);
}
